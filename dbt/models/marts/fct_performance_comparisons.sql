select
    study_id,
    objective,
    target,
    protocol,
    predictor,
    reference,
    n::integer as n,
    mae,
    reference_mae,
    difference,
    difference_low,
    difference_high,
    publisher_difference,
    publisher_difference_low,
    publisher_difference_high,
    verdict
from {{ source('raw', 'performance_comparisons') }}
