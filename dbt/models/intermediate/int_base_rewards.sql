select
    rewards.study_id,
    chosen.objective,
    chosen.model_id,
    rewards.reward_id,
    rewards.subset,
    rewards.item_id,
    rewards.completion,
    rewards.attribute,
    rewards.reward,
    rewards.status,
    rewards.run_id
from {{ ref('stg_completion_rewards') }} as rewards
inner join {{ ref('int_base_reward_sources') }} as chosen using (study_id, reward_id)
inner join {{ ref('int_answer_benchmarks') }} as answers
    on
        rewards.study_id = answers.study_id
        and rewards.benchmark = answers.benchmark
where answers.benchmark = 'rewardbench'
