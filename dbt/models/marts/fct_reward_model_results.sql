with models as (
    select * from {{ ref('int_base_models') }}
    where is_compared
),

answers as (
    select * from {{ ref('int_answer_benchmarks') }}
),

-- What the score is the mean of.
categories as (
    select
        study_id,
        objective,
        model_id,
        string_agg(category, ', ' order by category) as score_categories
    from {{ ref('int_category_values') }}
    where category != 'score'
    group by study_id, objective, model_id
),

noise as (
    select * from {{ ref('stg_run_noise') }}
    where category = 'score'
),

-- The lower end of the 95 % interval over test pairs is at most 5 points above chance; of a coin that is 50.
near_chance as (
    select
        category_values.study_id,
        category_values.objective,
        category_values.model_id,
        string_agg(category_values.category, ', ' order by category_values.category) filter (
            where category_values.category != 'score'
        ) as near_chance_categories,
        bool_or(category_values.category = 'score') as is_near_chance
    from {{ ref('int_category_values') }} as category_values
    inner join answers using (study_id)
    where
        category_values.value - {{ var('reach_of_95_percent') }} * category_values.standard_error
        <= answers.chance + 5
    group by category_values.study_id, category_values.objective, category_values.model_id
)

select
    results.study_id,
    results.objective,
    results.model_id,
    models.size_group,
    answers.benchmark,
    results.chat,
    results.chat_hard,
    results.safety,
    results.reasoning,
    results.score,
    categories.score_categories,
    results.score_standard_error,
    results.score_standard_error_approximate,
    results.standard_error_method,
    noise.standard_deviation as run_deviation,
    noise.basis as run_noise_basis,
    coalesce(near_chance.is_near_chance, false) as is_near_chance,
    near_chance.near_chance_categories,
    results.reasoning_unweighted,
    results.n_pairs,
    results.n_left_out,
    results.status,
    results.status_reason,
    results.is_comparable,
    results.basis,
    results.source
from {{ ref('int_reward_model_results') }} as results
inner join models using (study_id, model_id)
inner join answers using (study_id)
left join categories using (study_id, objective, model_id)
left join noise using (study_id, objective)
left join near_chance using (study_id, objective, model_id)
