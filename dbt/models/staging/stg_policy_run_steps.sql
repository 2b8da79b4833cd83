select
    study_id,
    policy_run_id,
    step,
    proxy_reward,
    kl,
    entropy,
    n_tokens,
    mean_length,
    share_finished,
    gradient_norm,
    share_groups_without_spread,
    seconds
from {{ source('raw', 'policy_run_steps') }}
