select
    study_id,
    check_name,
    policy_id,
    prompt_set,
    prompt_id,
    response_no,
    value,
    detail,
    seconds,
    status,
    run_id
from {{ source('raw', 'response_checks') }}
