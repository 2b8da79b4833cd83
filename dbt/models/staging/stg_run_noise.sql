select
    study_id,
    objective,
    category,
    standard_deviation,
    basis
from {{ source('raw', 'run_noise') }}
