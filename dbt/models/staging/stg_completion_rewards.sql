select
    study_id,
    objective,
    model_id,
    benchmark,
    subset,
    item_id,
    completion,
    attribute,
    reward,
    n_tokens,
    is_truncated,
    status,
    run_id
from {{ source('raw', 'completion_rewards') }}
