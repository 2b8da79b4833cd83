with results as (
    select
        results.study_id,
        results.objective,
        results.model_id,
        results.score,
        results.is_comparable,
        models.is_compared,
        models.size_group,
        models.default_model_id,
        models.parent_model_id,
        models.base_model_id
    from {{ ref('int_reward_model_results') }} as results
    inner join {{ ref('int_base_models') }} as models using (study_id, model_id)
),

ranked as (
    select
        *,
        row_number() over (
            partition by study_id, objective, size_group
            order by score desc, model_id asc
        ) as place
    from results
    where
        is_compared
        and is_comparable
        and score is not null
),

wanted as (
    select
        study_id,
        objective,
        model_id,
        objective as other_objective,
        unnest([default_model_id, parent_model_id, base_model_id]) as other_model_id
    from results
    union
    select
        best.study_id,
        best.objective,
        best.model_id,
        best.objective as other_objective,
        others.model_id as other_model_id
    from ranked as best
    inner join ranked as others using (study_id, objective, size_group)
    where best.place = 1
    union
    select
        study_id,
        'regression' as objective,
        model_id,
        'bradley_terry' as other_objective,
        model_id as other_model_id
    from results
)

-- Each once, and only where both have a result.
select wanted.*
from wanted
inner join results using (study_id, objective, model_id)
inner join results as others
    on
        wanted.study_id = others.study_id
        and wanted.other_objective = others.objective
        and wanted.other_model_id = others.model_id
where
    wanted.model_id != wanted.other_model_id
    or wanted.objective != wanted.other_objective
