select
    study_id,
    objective,
    target,
    nullif(fold, 'all models') as fold,
    selected_predictor,
    degree::integer as degree,
    alpha,
    l1_ratio,
    shrinkage
from {{ source('raw', 'performance_choices') }}
