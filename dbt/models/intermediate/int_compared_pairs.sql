-- Models are compared on the pairs that all of them have rewards for, but for models that lack many of a category.
with outcomes as (
    select
        outcomes.*,
        subsets.category
    from {{ ref('int_pair_outcomes') }} as outcomes
    left join {{ ref('int_answer_subsets') }} as subsets using (study_id, subset)
),

-- Pairs that any reward model of the study and objective has rewards for.
reach as (
    select
        study_id,
        objective,
        category,
        count(distinct row(subset, item_id)) as n_items
    from outcomes
    where
        outcome != 'error'
        and category is not null
    group by study_id, objective, category
),

models as (
    select distinct
        study_id,
        objective,
        model_id
    from outcomes
),

scored as (
    select
        study_id,
        objective,
        model_id,
        category,
        count(*) as n_scored
    from outcomes
    where outcome != 'error'
    group by study_id, objective, model_id, category
),

compared as (
    select
        models.study_id,
        models.objective,
        models.model_id,
        coalesce(
            min(coalesce(scored.n_scored, 0) / reach.n_items) >= {{ var('least_share_of_pairs') }}, false
        ) as is_comparable
    from models
    left join reach using (study_id, objective)
    left join scored
        on
            models.study_id = scored.study_id
            and models.objective = scored.objective
            and models.model_id = scored.model_id
            and reach.category = scored.category
    group by models.study_id, models.objective, models.model_id
),

numbers as (
    select
        study_id,
        objective,
        count(*) filter (where is_comparable) as n_models
    from compared
    group by study_id, objective
),

numbered as (
    select
        outcomes.*,
        compared.is_comparable,
        count(*) filter (where compared.is_comparable and outcomes.outcome != 'error') over (
            partition by outcomes.study_id, outcomes.objective, outcomes.subset, outcomes.item_id
        ) = numbers.n_models as is_shared
    from outcomes
    inner join compared using (study_id, objective, model_id)
    inner join numbers using (study_id, objective)
)

select
    study_id,
    objective,
    model_id,
    subset,
    item_id,
    run_id,
    value,
    outcome,
    category,
    is_comparable,
    outcome != 'error' and (is_shared or not is_comparable) as is_counted
from numbered
