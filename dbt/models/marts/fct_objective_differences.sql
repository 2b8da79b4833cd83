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
    100 * (sides.regression - sides.bradley_terry) / nullif(sides.bradley_terry, 0) as difference_percent,
    differences.is_paired,
    differences.standard_error,
    differences.error_with_runs,
    differences.low_with_runs,
    differences.high_with_runs,
    coalesce(differences.is_distinguishable, false) as is_distinguishable
from sides
inner join models using (study_id, model_id)
left join {{ ref('int_result_differences') }} as differences
    on
        sides.study_id = differences.study_id
        and sides.model_id = differences.model_id
        and sides.model_id = differences.other_model_id
        and sides.category = differences.category
        and differences.objective = 'regression'
        and differences.other_objective = 'bradley_terry'
where
    sides.regression is not null
    and sides.bradley_terry is not null
