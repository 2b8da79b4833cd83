with subsets as (
    select
        *,
        sum(n_pairs) over (partition by study_id, objective, model_id, category) as n_pairs_of_category
    from {{ ref('int_subset_results') }}
),

states as (
    select
        study_id,
        objective,
        model_id,
        any_value(run_id) as run_id,
        bool_or(is_comparable) as is_comparable,
        sum(n_errors) as n_errors,
        sum(n_left_out) as n_left_out,
        string_agg(distinct category, ', ' order by category) filter (
            where category is not null and n_pairs_of_category = 0
        ) as missing,
        string_agg(subset || ' ' || n_pairs || ' of ' || n_examples, ', ' order by subset) filter (
            where category is not null and n_pairs_of_category > 0 and n_pairs != n_examples
        ) as not_whole,
        string_agg(subset || ' ' || n_errors, ', ' order by subset) filter (
            where n_errors > 0
        ) as with_errors,
        string_agg(subset, ', ' order by subset) filter (
            where category is null
        ) as unknown
    from subsets
    group by study_id, objective, model_id
),

explained as (
    select
        *,
        nullif(
            concat_ws(
                '; ',
                'no pairs of ' || missing,
                'not all pairs of ' || not_whole,
                'pairs without a reward: ' || n_errors || ' (' || with_errors || ')',
                'left out, because RewardBench does not have them: ' || unknown
            ), ''
        ) as status_reason
    from states
),

wide as (
    select
        study_id,
        objective,
        model_id,
        max(accuracy) filter (where category = 'chat') as chat,
        max(accuracy) filter (where category = 'chat_hard') as chat_hard,
        max(accuracy) filter (where category = 'safety') as safety,
        max(accuracy) filter (where category = 'reasoning') as reasoning,
        max(accuracy_unweighted) filter (where category = 'reasoning') as reasoning_unweighted,
        -- Added in this order: otherwise a mean on the border of two roundings could differ between runs.
        round(list_sum(list(accuracy order by category)) / count(*), 9) as score,
        count(*) as n_categories,
        count(variance) as n_variances,
        sqrt(sum(variance)) / count(*) as standard_error,
        sqrt(sum(greatest(accuracy * (100 - accuracy), 0) / n_effective)) / count(*) as standard_error_approximate,
        sum(n_scored)::integer as n_scored
    from {{ ref('int_category_results') }}
    group by study_id, objective, model_id
),

-- A score is the mean of the categories that the test set of the study has; a model without one of them has no score.
scored as (
    select
        *,
        n_categories = max(n_categories) over (partition by study_id) as is_whole
    from wide
)

select
    explained.study_id,
    explained.objective,
    explained.model_id,
    scored.chat,
    scored.chat_hard,
    scored.safety,
    scored.reasoning,
    case when scored.is_whole then scored.score end as score,
    case
        when scored.is_whole and scored.n_variances = scored.n_categories then scored.standard_error
    end as score_standard_error,
    case when scored.is_whole then scored.standard_error_approximate end as score_standard_error_approximate,
    scored.reasoning_unweighted,
    coalesce(scored.n_scored, 0)::integer as n_pairs,
    explained.n_left_out::integer as n_left_out,
    case when explained.status_reason is null then 'complete' else 'incomplete' end as status,
    explained.status_reason,
    explained.is_comparable,
    explained.run_id as source
from explained
left join scored using (study_id, objective, model_id)
