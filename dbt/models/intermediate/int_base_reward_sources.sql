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
)

-- The reward model that was trained here; else another one, unless there are several of one base and objective.
select
    study_id,
    objective,
    model_id,
    reward_id
from sources
where is_wanted
qualify
    is_trained
    or count(*) over (partition by study_id, model_id, objective) = 1
