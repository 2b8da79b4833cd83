-- A base model may wait at a rung for several rounds: what was decided last counts.
with of_models as (
    select * exclude (learning_rate)
    from {{ ref('stg_race_decisions') }}
    where decision <> 'drop_rate'
    qualify row_number() over (partition by study_id, objective, model_id, n_examples order by place desc) = 1
),

-- A rate is dropped where it stands, while others of the base model may have come further.
of_rates as (
    select
        drops.*,
        max(looks.rung) as rung
    from {{ ref('stg_race_decisions') }} as drops
    inner join {{ ref('int_race_looks') }} as looks using (study_id, objective, model_id, learning_rate)
    where drops.decision = 'drop_rate' and looks.is_of_race
    group by all
),

ranked as (
    select
        *,
        failure is null and row_number() over (
            partition by study_id, objective, model_id, rung, is_of_race
            order by accuracy desc nulls last, train_loss asc, learning_rate asc
        ) = 1 as is_best_rate
    from {{ ref('int_race_looks') }}
)

select
    ranked.study_id,
    ranked.objective,
    ranked.model_id,
    ranked.learning_rate,
    ranked.rung,
    ranked.n_examples,
    ranked.place,
    ranked.is_of_race,
    ranked.is_best_rate,
    ranked.benchmark,
    ranked.n_items,
    ranked.accuracy,
    100 * {{ wilson_bound('(ranked.accuracy / 100)', 'ranked.n_items', '-') }} as accuracy_low,
    100 * {{ wilson_bound('(ranked.accuracy / 100)', 'ranked.n_items', '+') }} as accuracy_high,
    ranked.train_loss,
    ranked.failure,
    ranked.n_steps,
    ranked.n_trained_tokens,
    ranked.n_scored_tokens,
    ranked.device_hours,
    case
        when not ranked.is_of_race then 'census'
        when of_rates.place is not null then 'drop_rate'
        else of_models.decision
    end as decision,
    case when ranked.is_of_race then coalesce(of_rates.reason, of_models.reason) end as reason,
    case when ranked.is_of_race and of_rates.place is null then of_models.round end as decided_in_round,
    case when ranked.is_of_race and of_rates.place is null then of_models.against end as against,
    case when ranked.is_of_race and of_rates.place is null then of_models.estimate end as estimate_points,
    case when ranked.is_of_race and of_rates.place is null then of_models.low end as low_points,
    case when ranked.is_of_race and of_rates.place is null then of_models.high end as high_points,
    case when ranked.is_of_race and of_rates.place is null then of_models.probability_best end as probability_best
from ranked
left join of_models using (study_id, objective, model_id, n_examples)
left join of_rates using (study_id, objective, model_id, learning_rate, rung)
