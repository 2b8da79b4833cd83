select
    rewards.study_id,
    sources.objective,
    sources.model_id,
    rewards.reward_id,
    rewards.benchmark,
    rewards.subset,
    rewards.item_id,
    rewards.completion,
    rewards.attribute,
    rewards.reward,
    rewards.status,
    rewards.run_id
from {{ ref('stg_completion_rewards') }} as rewards
inner join {{ ref('stg_reward_sources') }} as sources using (study_id, reward_id)
where
    sources.kind = 'trained'
    -- Of several seeds of training the first, whose name has no seed.
    and rewards.reward_id = sources.model_id || '/' || sources.objective
