select
    study_id,
    objective,
    model_id,
    training_run,
    step,
    100 * validation_accuracy as validation_accuracy,
    validation_loss,
    n_won,
    n_pairs,
    weight_helpfulness,
    weight_correctness,
    weight_coherence,
    weight_complexity,
    weight_verbosity,
    n_optima,
    is_selected,
    run_id
from {{ source('raw', 'reward_model_checkpoints') }}
