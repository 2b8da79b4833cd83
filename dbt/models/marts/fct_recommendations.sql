select
    source.study_id,
    source.objective,
    source.size_limit_b,
    source.rank::integer as rank,
    source.model_id,
    models.params_b,
    source.basis,
    source.expected_score,
    source.interval_low,
    source.interval_high,
    source.gain_points_over_default,
    source.probability_best,
    source.reason
from {{ source('raw', 'recommendations') }} as source
inner join {{ ref('dim_base_models') }} as models using (study_id, model_id)
