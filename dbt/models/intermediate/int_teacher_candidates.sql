-- Base models that a reward model for a policy may be trained on: those with a reward model, and the study's others.
with studies as (
    select distinct study_id
    from {{ ref('stg_gold_rewards') }}
),

rewards as (
    select
        sources.study_id,
        coalesce(sources.model_id, sources.base_model) as base_model,
        coalesce(sources.objective, 'unknown') as objective,
        sources.reward_id,
        sources.family,
        sources.params_b
    from {{ ref('stg_reward_sources') }} as sources
    inner join studies using (study_id)
    where
        sources.kind in ('trained', 'hub', 'imported')
        and coalesce(sources.model_id, sources.base_model) is not null
        and not exists (
            select 1
            from {{ ref('stg_gold_rewards') }} as golds
            where
                golds.study_id = sources.study_id
                and sources.reward_id in (golds.gold_id, golds.excluded)
        )
),

objectives as (
    select distinct
        study_id,
        objective
    from rewards
    where objective != 'unknown'
),

others as (
    select
        models.study_id,
        models.model_id as base_model,
        objectives.objective,
        null::varchar as reward_id,
        models.family,
        models.params_b
    from {{ ref('int_base_models') }} as models
    inner join objectives using (study_id)
    where
        (models.is_compared or models.is_candidate)
        and not exists (
            select 1
            from rewards
            where
                rewards.study_id = models.study_id
                and rewards.base_model = models.model_id
                and rewards.objective = objectives.objective
        )
)

-- A base model of the study has the study's facts.
select
    listed.study_id,
    listed.base_model,
    listed.objective,
    listed.reward_id,
    coalesce(models.family, max(listed.family) over base) as family,
    coalesce(models.params_b, max(listed.params_b) over base) as params_b
from (
    from rewards
    union all by name
    from others
) as listed
left join {{ ref('int_base_models') }} as models
    on listed.study_id = models.study_id and listed.base_model = models.model_id
window base as (partition by listed.study_id, listed.base_model)
