select
    source.study_id,
    source.objective,
    source.target,
    source.protocol,
    source.predictor,
    source.k::integer as k,
    source.coverage,
    source.chance,
    scores.n
from {{ source('raw', 'performance_predicted_coverage') }} as source
inner join {{ ref('fct_performance_scores') }} as scores using (study_id, objective, target, protocol, predictor)
