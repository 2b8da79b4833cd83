with printed as (
    select
        seeds.study_id,
        results.*
    from {{ ref('rewardbench2_base_by_data') }} as results
    inner join {{ ref('stg_study_seeds') }} as seeds on seeds.seed = 'rewardbench2_base_by_data'
)

select
    study_id,
    model_id,
    training_data,
    category,
    value,
    paper_table
from printed
unpivot (value for category in (average, factuality, precise_if, math, safety, focus, ties))
