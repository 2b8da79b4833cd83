select
    study_id,
    policy_id,
    prompt_set,
    prompt_id,
    response_no,
    text,
    content_hash,
    n_tokens,
    n_bytes,
    logprob,
    reference_logprob,
    finish_reason,
    status,
    run_id
from {{ source('raw', 'responses') }}
