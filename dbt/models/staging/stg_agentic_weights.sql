select
    study_id,
    reward_id,
    check_name,
    plain_reward_id,
    added,
    weight,
    is_fitted,
    fit_benchmark,
    fit_share,
    n_fit_items,
    accuracy_plain,
    accuracy_chosen,
    accuracy_choosing_half,
    accuracy_other_half,
    optimism_points
from {{ source('raw', 'agentic_weights') }}
