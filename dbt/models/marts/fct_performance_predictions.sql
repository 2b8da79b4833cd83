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
    is_supported,
    fold
from {{ source('raw', 'performance_predictions') }}
