select
    study_id,
    reward_id,
    temperature,
    log_loss,
    n_pairs,
    status
from {{ source('raw', 'reward_temperatures') }}
