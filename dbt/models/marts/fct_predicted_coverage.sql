select
    study_id,
    objective,
    target,
    protocol,
    predictor,
    k::integer as k,
    coverage,
    chance
from {{ source('raw', 'performance_predicted_coverage') }}
