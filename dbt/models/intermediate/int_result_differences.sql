with subsets as (
    select
        *,
        n_both + n_only_model + n_only_other + n_neither as n_pairs
    from {{ ref('int_paired_outcomes') }}
),

-- A pair's difference is 1, -1, 0 or a part. Of a subset: its mean, and its sample variance over n - 1, none for one.
paired_subsets as (
    select
        *,
        sum_of_differences / n_pairs as difference,
        greatest(sum_of_squares / n_pairs - (sum_of_differences / n_pairs) ** 2, 0)
        / nullif(n_pairs - 1, 0) as variance,
        weight / sum(weight) over (
            partition by study_id, objective, model_id, other_objective, other_model_id, category
        ) as share
    from subsets
),

paired_categories as (
    select
        study_id,
        objective,
        model_id,
        other_objective,
        other_model_id,
        category,
        sum(n_pairs)::integer as n_pairs,
        sum(n_both)::integer as n_both,
        sum(n_only_model)::integer as n_only_model,
        sum(n_only_other)::integer as n_only_other,
        sum(n_neither)::integer as n_neither,
        round(100 * sum(share * difference), 9) as difference_points,
        case when min(n_pairs) > 1 then 10000 * sum(share * share * variance) end as variance
    from paired_subsets
    group by all
),

paired as (
    select * from paired_categories
    -- The only part of a benchmark: its difference is that of the score.
    where category != 'all'
    union all by name
    select
        study_id,
        objective,
        model_id,
        other_objective,
        other_model_id,
        'score' as category,
        sum(n_pairs)::integer as n_pairs,
        sum(n_both)::integer as n_both,
        sum(n_only_model)::integer as n_only_model,
        sum(n_only_other)::integer as n_only_other,
        sum(n_neither)::integer as n_neither,
        -- Only of the categories that the test set of the study has, and of all of them.
        case
            when count(*) = max(count(*)) over (partition by study_id) then round(sum(difference_points) / count(*), 9)
        end as difference_points,
        case
            when count(variance) = max(count(*)) over (partition by study_id) then sum(variance) / count(*) ** 2
        end as variance
    from paired_categories
    group by study_id, objective, model_id, other_objective, other_model_id
),

-- Without item results: errors of the two taken as independent, which is rather too wide on the same test pairs.
separate as (
    select
        pairs.study_id,
        pairs.objective,
        pairs.model_id,
        pairs.other_objective,
        pairs.other_model_id,
        mine.category,
        mine.value - others.value as difference_points,
        mine.standard_error ** 2 + others.standard_error ** 2 as variance
    from {{ ref('int_compared_reward_models') }} as pairs
    inner join {{ ref('int_category_values') }} as mine using (study_id, objective, model_id)
    inner join {{ ref('int_category_values') }} as others
        on
            pairs.study_id = others.study_id
            and pairs.other_objective = others.objective
            and pairs.other_model_id = others.model_id
            and mine.category = others.category
    where not exists (
        select 1
        from paired
        where
            paired.study_id = pairs.study_id
            and paired.objective = pairs.objective
            and paired.model_id = pairs.model_id
            and paired.other_objective = pairs.other_objective
            and paired.other_model_id = pairs.other_model_id
    )
),

differences as (
    select
        * exclude (variance),
        sqrt(variance) as standard_error,
        true as is_paired
    from paired
    union all by name
    select
        * exclude (variance),
        sqrt(variance) as standard_error,
        false as is_paired
    from separate
),

with_errors as (
    select
        differences.*,
        sqrt(
            differences.standard_error ** 2 + mine.standard_deviation ** 2 + others.standard_deviation ** 2
        ) as error_with_runs
    from differences
    left join {{ ref('stg_run_noise') }} as mine using (study_id, objective, category)
    left join {{ ref('stg_run_noise') }} as others
        on
            differences.study_id = others.study_id
            and differences.other_objective = others.objective
            and differences.category = others.category
)

select
    *,
    difference_points - {{ var('reach_of_95_percent') }} * standard_error as low,
    difference_points + {{ var('reach_of_95_percent') }} * standard_error as high,
    difference_points - {{ var('reach_of_95_percent') }} * error_with_runs as low_with_runs,
    difference_points + {{ var('reach_of_95_percent') }} * error_with_runs as high_with_runs,
    abs(difference_points) > {{ var('reach_of_95_percent') }} * error_with_runs as is_distinguishable
from with_errors
