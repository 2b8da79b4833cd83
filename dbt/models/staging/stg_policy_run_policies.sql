select
    study_id,
    policy_run_id,
    step,
    share_done,
    policy_id
from {{ source('raw', 'policy_run_policies') }}
