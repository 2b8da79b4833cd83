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
    source.mae,
    source.mae_low,
    source.mae_high,
    source.coverage_at_5,
    source.coverage_at_10,
    source.regret_at_1,
    source.regret_at_5,
    source.coverage_at_5_chance,
    source.coverage_at_10_chance,
    source.regret_at_1_chance,
    source.regret_at_5_chance,
    predictions.n::integer as n
from {{ source('raw', 'performance_scores') }} as source
inner join predictions using (study_id, objective, target, protocol, predictor)
