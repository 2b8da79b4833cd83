with predictions as (
    select
        study_id,
        objective,
        target,
        protocol,
        predictor,
        count(*) as n
    from {{ ref('fct_performance_predictions') }}
    group by study_id, objective, target, protocol, predictor
)

select
    source.study_id,
    source.objective,
    source.target,
    source.protocol,
    source.predictor,
    source.k::integer as k,
    source.coverage,
    source.chance,
    predictions.n::integer as n
from {{ source('raw', 'performance_predicted_coverage') }} as source
inner join predictions using (study_id, objective, target, protocol, predictor)
