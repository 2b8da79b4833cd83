with outcomes as (
    select * from {{ ref('int_pair_outcomes') }}
    where outcome != 'error'
),

models as (
    select * from {{ ref('int_base_models') }}
    where is_compared
),

compared as (
    select
        outcomes.*,
        models.size_group,
        models.default_model_id
    from outcomes
    inner join models using (study_id, model_id)
    where outcomes.model_id != models.default_model_id
)

select
    compared.study_id,
    compared.objective,
    compared.model_id,
    compared.size_group,
    compared.default_model_id,
    subsets.category,
    compared.subset,
    subsets.weight,
    count(*) filter (where compared.outcome = 'won' and defaults.outcome = 'won')::integer as n_both,
    count(*) filter (where compared.outcome = 'won' and defaults.outcome != 'won')::integer as n_only_model,
    count(*) filter (where compared.outcome != 'won' and defaults.outcome = 'won')::integer as n_only_default,
    count(*) filter (where compared.outcome != 'won' and defaults.outcome != 'won')::integer as n_neither
from compared
inner join outcomes as defaults
    on
        compared.study_id = defaults.study_id
        and compared.objective = defaults.objective
        and compared.default_model_id = defaults.model_id
        and compared.subset = defaults.subset
        and compared.item_id = defaults.item_id
inner join {{ ref('stg_rewardbench_subsets') }} as subsets on compared.subset = subsets.subset
group by all
