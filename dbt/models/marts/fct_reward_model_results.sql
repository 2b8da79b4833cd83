with models as (
    select * from {{ ref('int_base_models') }}
    where is_compared
),

noise as (
    select * from {{ ref('stg_run_noise') }}
    where category = 'score'
),

-- Of a coin: 50. The lower end of the 95 % interval over test pairs is at or below 55.
near_chance as (
    select
        study_id,
        objective,
        model_id,
        string_agg(category, ', ' order by category) filter (where category != 'score') as near_chance_categories,
        bool_or(category = 'score') as is_near_chance
    from {{ ref('int_category_values') }}
    where value - {{ var('reach_of_95_percent') }} * standard_error <= 55
    group by study_id, objective, model_id
)

select
    results.study_id,
    results.objective,
    results.model_id,
    models.size_group,
    results.chat,
    results.chat_hard,
    results.safety,
    results.reasoning,
    results.score,
    results.score_standard_error,
    results.score_standard_error_approximate,
    results.standard_error_method,
    noise.standard_deviation as run_deviation,
    noise.basis as run_noise_basis,
    coalesce(near_chance.is_near_chance, false) as is_near_chance,
    near_chance.near_chance_categories,
    results.reasoning_unweighted,
    results.n_pairs,
    results.status,
    results.status_reason,
    results.is_comparable,
    results.basis,
    results.source
from {{ ref('int_reward_model_results') }} as results
inner join models using (study_id, model_id)
left join noise using (study_id, objective)
left join near_chance using (study_id, objective, model_id)
