select
    study_id,
    reward_id,
    point,
    weights,
    accuracy,
    is_chosen
from {{ source('raw', 'agentic_fits') }}
