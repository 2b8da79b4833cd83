-- A training that failed at some rung goes no further.
with trainings as (
    select
        looks.study_id,
        looks.objective,
        looks.model_id,
        looks.learning_rate,
        bool_or(looks.failure is not null) as has_failed,
        max(looks.accuracy) filter (where looks.n_examples = answers.n_full_examples) as final_accuracy
    from {{ ref('int_race_looks') }} as looks
    inner join {{ ref('stg_race_answers') }} as answers
        on looks.study_id = answers.study_id and looks.objective = answers.objective and answers.method = 'race'
    group by all
),

finals as (
    select
        study_id,
        objective,
        model_id,
        max(final_accuracy) as final_accuracy,
        bool_and(has_failed or final_accuracy is not null) as is_complete
    from trainings
    group by all
),

-- The census is known where every candidate was trained to the end at every rate.
censuses as (
    select
        study_id,
        objective,
        bool_and(is_complete) as is_known,
        count(*) as n_models,
        max(final_accuracy) as best_accuracy,
        arg_max(model_id, final_accuracy) as best_model
    from finals
    group by all
),

answers as (
    select
        *,
        n_trained_tokens + n_scored_tokens / 3 as n_tokens,
        n_census_trained_tokens + n_census_scored_tokens / 3 as n_census_tokens
    from {{ ref('stg_race_answers') }}
)

select
    answers.study_id,
    answers.objective,
    answers.method,
    answers.race_id,
    answers.benchmark,
    answers.n_candidates,
    answers.winner,
    answers.probability_best,
    answers.probability_within,
    answers.indifference_set,
    answers.indifference,
    answers.confidence,
    answers.end_reason,
    answers.answer,
    coalesce(censuses.is_known and censuses.n_models = answers.n_candidates, false) as is_census_known,
    case when is_census_known then censuses.best_model end as census_winner,
    case when is_census_known then censuses.best_accuracy - finals.final_accuracy end as regret_points,
    answers.n_looks,
    answers.n_trained_tokens,
    answers.n_scored_tokens,
    answers.n_tokens,
    answers.device_hours,
    answers.n_census_tokens,
    answers.census_device_hours,
    answers.n_tokens / nullif(answers.n_census_tokens, 0) as share_of_census,
    answers.budget
from answers
left join censuses using (study_id, objective)
left join finals
    on answers.study_id = finals.study_id and answers.objective = finals.objective and answers.winner = finals.model_id
