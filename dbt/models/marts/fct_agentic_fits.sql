select
    study_id,
    reward_id,
    point,
    weights,
    accuracy,
    is_chosen
from {{ ref('stg_agentic_fits') }}
