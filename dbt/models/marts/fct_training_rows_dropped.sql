select
    study_id,
    objective,
    model_id,
    reason,
    n_train_rows_dropped::integer as n_train_rows_dropped,
    n_train_rows::integer as n_train_rows,
    is_stated
from {{ ref('stg_training_rows_dropped') }}
