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

long as (
    from results
    unpivot (value for category in (chat, chat_hard, safety, reasoning, score))
)

select
    long.study_id,
    long.objective,
    long.model_id,
    long.category,
    long.value,
    case
        when long.category = 'score' then coalesce(long.score_standard_error, long.score_standard_error_approximate)
        -- Binomial where no variance is measured: from the pairs of the category, for a printed result RewardBench's.
        else coalesce(
            sqrt(measured.variance),
            sqrt(long.value * (100 - long.value) / coalesce(measured.n_effective, whole.n_effective))
        )
    end as standard_error
from long
left join {{ ref('int_category_results') }} as measured
    on
        long.basis = 'item_results'
        and long.study_id = measured.study_id
        and long.objective = measured.objective
        and long.model_id = measured.model_id
        and long.category = measured.category
left join {{ ref('int_rewardbench_categories') }} as whole on long.category = whole.category
