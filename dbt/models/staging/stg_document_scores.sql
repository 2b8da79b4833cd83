with source as (
    select * from {{ source('raw', 'document_scores') }}
)

select
    study_id,
    model_id,
    corpus,
    document_id,
    domain,
    engine,
    logprob_sum,
    n_tokens_scored,
    n_bytes_scored,
    is_truncated,
    bos_policy,
    presence_score,
    bits_per_byte,
    min_k,
    min_k_plus_plus,
    logprob_per_zlib_byte,
    dtype,
    status,
    run_id
from source
