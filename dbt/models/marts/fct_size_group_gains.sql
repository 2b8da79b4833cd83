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

compared as (
    select
        results.study_id,
        results.objective,
        models.size_group,
        models.size_group_position,
        results.model_id,
        models.params_b,
        models.default_model_id,
        models.is_default,
        results.score,
        defaults.score as default_score,
        defaults.is_near_chance as is_default_near_chance,
        results.is_near_chance,
        median(results.score) over (partition by results.study_id, results.objective, models.size_group)
            as group_median_score
    from results
    inner join models using (study_id, model_id)
    inner join results as defaults
        on
            models.study_id = defaults.study_id
            and models.default_model_id = defaults.model_id
            and results.objective = defaults.objective
)

select
    compared.study_id,
    compared.objective,
    compared.size_group,
    compared.size_group_position::integer as size_group_position,
    compared.model_id,
    compared.params_b,
    compared.default_model_id,
    compared.is_default,
    compared.score,
    compared.is_near_chance,
    compared.default_score,
    compared.is_default_near_chance,
    compared.group_median_score,
    compared.score - compared.default_score as gain_points,
    100 * (compared.score - compared.default_score) / nullif(compared.default_score, 0) as gain_percent,
    compared.score - compared.group_median_score as gain_over_median_points,
    differences.is_paired,
    differences.standard_error as gain_standard_error,
    differences.low as gain_low,
    differences.high as gain_high,
    differences.error_with_runs as gain_error_with_runs,
    differences.low_with_runs as gain_low_with_runs,
    differences.high_with_runs as gain_high_with_runs,
    (rank() over (
        partition by compared.study_id, compared.objective, compared.size_group
        order by compared.score desc
    ))::integer as rank_in_group,
    (count(*) over (partition by compared.study_id, compared.objective, compared.size_group))::integer as n_in_group
from compared
left join {{ ref('int_result_differences') }} as differences
    on
        compared.study_id = differences.study_id
        and compared.objective = differences.objective
        and compared.objective = differences.other_objective
        and compared.model_id = differences.model_id
        and compared.default_model_id = differences.other_model_id
        and differences.category = 'score'
