select
    study_id,
    objective,
    model_id,
    reason,
    n_train_rows_dropped,
    n_train_rows,
    is_stated
from {{ source('raw', 'training_rows_dropped') }}
