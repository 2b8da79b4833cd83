select
    study_id,
    objective,
    target,
    reason
from {{ source('raw', 'performance_abstentions') }}
