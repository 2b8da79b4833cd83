with results as (
    select * from {{ ref('fct_reward_model_results') }}
    where
        is_comparable
        and score is not null
),

models as (
    select * from {{ ref('int_base_models') }}
    where is_compared
),

defaults as (
    select
        models.study_id,
        models.size_group,
        models.default_model_id,
        results.objective,
        results.score as default_score,
        results.score_standard_error_approximate as default_standard_error
    from models
    inner join results using (study_id, model_id)
    where models.is_default
),

compared as (
    select
        results.study_id,
        results.objective,
        models.size_group,
        models.size_group_position,
        results.model_id,
        models.params_b,
        defaults.default_model_id,
        models.is_default,
        results.score,
        defaults.default_score,
        results.score - defaults.default_score as gain_points,
        100 * (results.score - defaults.default_score) / nullif(defaults.default_score, 0) as gain_percent,
        -- Two models judged on the same items are positively correlated: independence gives the wider interval.
        case
            when not models.is_default
                then sqrt(
                    results.score_standard_error_approximate * results.score_standard_error_approximate
                    + defaults.default_standard_error * defaults.default_standard_error
                )
        end as gain_standard_error_approximate
    from results
    inner join models using (study_id, model_id)
    inner join defaults
        on
            models.study_id = defaults.study_id
            and models.size_group = defaults.size_group
            and results.objective = defaults.objective
)

select
    study_id,
    objective,
    size_group,
    size_group_position::integer as size_group_position,
    model_id,
    params_b,
    default_model_id,
    is_default,
    score,
    default_score,
    gain_points,
    gain_percent,
    gain_standard_error_approximate,
    gain_points - 1.959963984540054 * gain_standard_error_approximate as gain_low_approximate,
    gain_points + 1.959963984540054 * gain_standard_error_approximate as gain_high_approximate,
    (rank() over (partition by study_id, objective, size_group order by score desc))::integer as rank_in_group,
    (count(*) over (partition by study_id, objective, size_group))::integer as n_in_group
from compared
