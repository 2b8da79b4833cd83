with source as (
    select * from {{ source('raw', 'performance_predicted_coverage') }}
)

select
    study_id,
    objective,
    target,
    protocol,
    predictor,
    k::integer as k,
    coverage,
    chance
from source
