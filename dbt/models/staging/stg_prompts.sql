select
    study_id,
    prompt_set,
    prompt_id,
    split,
    n_turns,
    n_bytes,
    content_hash,
    source,
    gold_kind,
    gold,
    order_no
from {{ source('raw', 'prompts') }}
