-- A gold reward that is a reward model, also under another name, has the facts of that one.
with golds as (
    select
        golds.study_id,
        golds.gold_id,
        golds.kind = 'reward' as is_model,
        coalesce(golds.excluded, golds.gold_id) as reward_id,
        coalesce(sources.model_id, sources.base_model) as base_model,
        sources.family,
        sources.data_id,
        sources.hub_id,
        sources.revision
    from {{ ref('stg_gold_rewards') }} as golds
    left join {{ ref('stg_reward_sources') }} as sources
        on
            golds.study_id = sources.study_id
            and coalesce(golds.excluded, golds.gold_id) = sources.reward_id
),

rewards as (
    select
        study_id,
        reward_id,
        kind not in ('function', 'human') as is_model,
        coalesce(model_id, base_model) as base_model,
        family,
        data_id,
        hub_id,
        revision
    from {{ ref('stg_reward_sources') }}
)

select
    golds.study_id,
    rewards.reward_id,
    golds.gold_id,
    (rewards.is_model and golds.is_model) and rewards.base_model = golds.base_model as same_base,
    (rewards.is_model and golds.is_model) and rewards.family = golds.family as same_family,
    (rewards.is_model and golds.is_model) and rewards.data_id = golds.data_id as same_training_data,
    rewards.reward_id in (golds.reward_id, golds.gold_id)
    or coalesce(rewards.hub_id = golds.hub_id and rewards.revision is not distinct from golds.revision, false)
        as same_model
from golds
inner join rewards using (study_id)
