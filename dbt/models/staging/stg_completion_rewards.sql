select
    study_id,
    reward_id,
    benchmark,
    subset,
    item_id,
    completion,
    attribute,
    reward,
    n_tokens,
    is_truncated,
    status,
    source,
    run_id
from {{ source('raw', 'completion_rewards') }}
