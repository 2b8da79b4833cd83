with models as (
    select * from {{ ref('int_base_models') }}
    where is_compared
),

sides as (
    select
        study_id,
        model_id,
        category,
        max(value) filter (where objective = 'regression') as regression,
        max(value) filter (where objective = 'bradley_terry') as bradley_terry
    from {{ ref('int_category_values') }}
    group by study_id, model_id, category
)

select
    sides.study_id,
    sides.model_id,
    models.size_group,
    sides.category,
    sides.regression,
    sides.bradley_terry,
    sides.regression - sides.bradley_terry as difference_points,
    100 * (sides.regression - sides.bradley_terry) / nullif(sides.bradley_terry, 0) as difference_percent
from sides
inner join models using (study_id, model_id)
where
    sides.regression is not null
    and sides.bradley_terry is not null
