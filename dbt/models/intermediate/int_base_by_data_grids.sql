with results as (
    select
        *,
        count(*) over (partition by study_id, category, model_id) as n_of_model
    from {{ ref('stg_base_by_data') }}
),

sizes as (
    select
        study_id,
        category,
        count(distinct training_data) as n_data
    from results
    group by study_id, category
),

-- Only bases with every training set: in a whole grid the effects of base and data are orthogonal.
grid as (
    select
        results.study_id,
        results.category,
        results.model_id,
        results.training_data,
        results.value
    from results
    inner join sizes using (study_id, category)
    where results.n_of_model = sizes.n_data
),

-- The grid whole, and without each base in turn.
leave_outs as (
    select
        study_id,
        category,
        null as left_out
    from grid
    union distinct
    select
        study_id,
        category,
        model_id as left_out
    from grid
),

cells as (
    select
        grid.*,
        leave_outs.left_out,
        avg(grid.value) over (partition by leave_outs.left_out, grid.study_id, grid.category) as overall_mean,
        avg(grid.value) over (partition by leave_outs.left_out, grid.study_id, grid.category, grid.model_id)
            as base_mean,
        avg(grid.value) over (partition by leave_outs.left_out, grid.study_id, grid.category, grid.training_data)
            as data_mean
    from grid
    inner join leave_outs using (study_id, category)
    where leave_outs.left_out is distinct from grid.model_id
)

select
    *,
    base_mean - overall_mean as base_effect,
    data_mean - overall_mean as data_effect,
    value - base_mean - data_mean + overall_mean as residual
from cells
