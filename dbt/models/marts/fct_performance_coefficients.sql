select
    study_id,
    objective,
    target,
    protocol,
    feature,
    coefficient,
    selection_frequency
from {{ source('raw', 'performance_coefficients') }}
