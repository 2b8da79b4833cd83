with sources as (
    select
        *,
        kind = 'trained' as is_trained,
        -- Of several seeds of training the first, whose name has no seed.
        kind != 'trained' or reward_id = model_id || '/' || objective as is_wanted
    from {{ ref('stg_reward_sources') }}
    where
        model_id is not null
        and objective in ('bradley_terry', 'regression')
),

-- The reward model that was trained here; else imported scores, unless there are several of one base and objective.
chosen as (
    select *
    from sources
    where is_wanted
    qualify
        is_trained
        or count(*) over (partition by study_id, model_id, objective) = 1
)

select
    rewards.study_id,
    chosen.objective,
    chosen.model_id,
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
inner join chosen using (study_id, reward_id)
