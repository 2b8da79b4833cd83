select
    study_id,
    data_id,
    pair_id,
    prompt_id,
    split,
    label_kind,
    fold,
    cross_fitted_margin,
    p_label,
    is_kept,
    is_label_right,
    prompt,
    chosen,
    rejected,
    source
from {{ source('raw', 'preference_labels') }}
