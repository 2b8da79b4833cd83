select
    own.study_id,
    own.reward_id,
    own.policy_id,
    own.prompt_set,
    own.gold_id,
    avg(others.on_policy_accuracy) as off_policy_accuracy
from {{ ref('int_teacher_properties') }} as own
inner join {{ ref('int_teacher_properties') }} as others using (study_id, reward_id, prompt_set, gold_id)
where own.policy_id != others.policy_id
group by own.study_id, own.reward_id, own.policy_id, own.prompt_set, own.gold_id
