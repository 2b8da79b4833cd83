select
    study_id,
    objective,
    model_id,
    training_run,
    learning_rate,
    seed,
    n_steps,
    n_steps_planned,
    n_examples,
    n_examples_dropped,
    n_examples_truncated,
    n_tokens,
    status,
    reason,
    is_selected,
    run_id
from {{ source('raw', 'reward_model_runs') }}
