select
    study_id,
    gold_id,
    kind,
    checks,
    excluded,
    run_id
from {{ source('raw', 'gold_rewards') }}
