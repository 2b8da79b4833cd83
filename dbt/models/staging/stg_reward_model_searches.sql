select
    study_id,
    objective,
    model_id,
    method,
    100 * accuracy_choosing_half as accuracy_choosing_half,
    100 * accuracy_other_half as accuracy_other_half,
    100 * accuracy_mean_rate as accuracy_mean_rate,
    100 * accuracy_best_rate as accuracy_best_rate,
    optimism_points,
    n_steps,
    n_steps_full_grid,
    status,
    reason,
    run_id
from {{ source('raw', 'reward_model_searches') }}
