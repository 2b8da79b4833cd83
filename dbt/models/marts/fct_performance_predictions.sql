select
    study_id,
    objective,
    target,
    predictor,
    protocol,
    model_id,
    predicted,
    interval_low,
    interval_high,
    observed,
    in_hull,
    fold
from {{ source('raw', 'performance_predictions') }}
