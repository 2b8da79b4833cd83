select
    study_id,
    objective,
    target,
    other_study_id,
    n_models::integer as n_models,
    recipe_effect,
    recipe_effect_error,
    recipe_effect_low,
    recipe_effect_high,
    shrunk_effect,
    share
from {{ source('raw', 'performance_other_studies') }}
