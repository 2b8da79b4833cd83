select
    seeds.study_id,
    teachers.paper_table,
    teachers.policy,
    teachers.gold,
    teachers.method,
    teachers.reward_model,
    teachers.reward_variance,
    teachers.on_policy_accuracy,
    teachers.off_policy_accuracy,
    (teachers.on_policy_accuracy + teachers.off_policy_accuracy) / 2 as mean_accuracy,
    -- The paper's combined predictor.
    (teachers.reward_variance + (teachers.on_policy_accuracy + teachers.off_policy_accuracy) / 2) / 2
        as variance_and_mean_accuracy,
    scores.rewardbench,
    teachers.proxy_gain,
    teachers.gold_gain
from {{ ref('razin_teachers') }} as teachers
inner join {{ ref('stg_study_seeds') }} as seeds on seeds.seed = 'razin_teachers'
left join {{ ref('razin_reward_models') }} as scores using (reward_model)
