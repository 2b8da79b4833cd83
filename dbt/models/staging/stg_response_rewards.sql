select
    study_id,
    reward_id,
    policy_id,
    prompt_set,
    prompt_id,
    response_no,
    attribute,
    reward,
    n_tokens,
    is_truncated,
    status,
    run_id
from {{ source('raw', 'response_rewards') }}
