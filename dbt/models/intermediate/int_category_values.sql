with results as (
    select
        study_id,
        objective,
        model_id,
        basis,
        score_standard_error,
        score_standard_error_approximate,
        chat,
        chat_hard,
        safety,
        reasoning,
        score
    from {{ ref('int_reward_model_results') }}
    where is_comparable
),

published as (
    select * from results
    where basis = 'published'
),

printed as (
    from published
    unpivot (value for category in (chat, chat_hard, safety, reasoning))
)

select
    study_id,
    objective,
    model_id,
    'score' as category,
    score as value,
    coalesce(score_standard_error, score_standard_error_approximate) as standard_error
from results
where score is not null
union all
-- Binomial where no variance is measured: from the pairs of the category, for a printed result RewardBench's.
select
    printed.study_id,
    printed.objective,
    printed.model_id,
    printed.category,
    printed.value,
    sqrt(printed.value * (100 - printed.value) / whole.n_effective) as standard_error
from printed
inner join {{ ref('int_rewardbench_categories') }} as whole using (category)
union all
select
    measured.study_id,
    measured.objective,
    measured.model_id,
    measured.category,
    measured.accuracy as value,
    coalesce(
        sqrt(measured.variance),
        -- A score of Ties may lie outside of 0 to 100 by a point.
        sqrt(greatest(measured.accuracy * (100 - measured.accuracy), 0) / measured.n_effective)
    ) as standard_error
from {{ ref('int_category_results') }} as measured
inner join results using (study_id, objective, model_id)
where
    results.basis = 'item_results'
    -- The only part of a benchmark: its value is the score.
    and measured.category != 'all'
