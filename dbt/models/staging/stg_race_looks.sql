select
    study_id,
    look_id,
    model_id,
    objective,
    benchmark,
    learning_rate,
    seed,
    n_examples,
    n_steps,
    n_tokens as n_trained_tokens,
    n_item_tokens as n_scored_tokens,
    n_items,
    outcomes,
    100 * accuracy as accuracy,
    train_loss,
    failure,
    device_seconds / 3600 as device_hours
from {{ source('raw', 'race_looks') }}
