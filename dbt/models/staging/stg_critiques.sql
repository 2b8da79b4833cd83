select
    study_id,
    reward_id,
    critiques,
    benchmark,
    subset,
    item_id,
    completion,
    critique_no,
    text,
    n_tokens,
    n_tokens_read,
    reward,
    finish_reason,
    status
from {{ source('raw', 'critiques') }}
