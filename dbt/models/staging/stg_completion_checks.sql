select
    study_id,
    check_name,
    benchmark,
    subset,
    item_id,
    completion,
    value,
    detail,
    seconds,
    status,
    run_id
from {{ source('raw', 'completion_checks') }}
