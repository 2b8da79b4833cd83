select
    study_id,
    objective,
    model_id,
    size_group,
    default_model_id,
    category,
    n_pairs,
    n_both,
    n_only_model,
    n_only_default,
    n_neither,
    mcnemar_p,
    difference_points,
    difference_low,
    difference_high
from {{ ref('int_comparison_statistics') }}
