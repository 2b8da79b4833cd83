with grids as (
    select * from {{ ref('int_base_by_data_grids') }}
    where left_out is null
)

select
    results.study_id,
    results.model_id,
    results.training_data,
    results.category,
    results.value,
    case when results.category not in ('average', 'ties') then 25.0::double end as chance,
    results.paper_table,
    grids.value is not null as is_in_grid,
    grids.base_mean,
    grids.data_mean,
    grids.residual
from {{ ref('stg_base_by_data') }} as results
left join grids using (study_id, model_id, training_data, category)
