select
    study_id,
    gold_id,
    kind,
    checks,
    excluded
from {{ source('raw', 'gold_rewards') }}
