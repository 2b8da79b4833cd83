select
    study_id,
    objective,
    model_id,
    training_run,
    step,
    loss,
    gradient_norm,
    n_examples,
    n_tokens,
    run_id
from {{ source('raw', 'reward_model_steps') }}
