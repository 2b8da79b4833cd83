with subset_scores as (
    select
        scores.study_id,
        scores.reward_id,
        scores.benchmark,
        scores.subset,
        scores.metric,
        scores.is_main,
        scores.n,
        scores.n_ties,
        scores.n_errors,
        scores.mean,
        scores.variance / nullif(scores.n, 0) as variance,
        subsets.category,
        subsets.part,
        subsets.n_parts,
        subsets.figure,
        case when scores.is_main then 'main' else scores.metric end as figure_of,
        case when scores.n > 0 then coalesce(subsets.weight, scores.n) else 0 end as weight
    from {{ ref('int_subset_scores') }} as scores
    inner join {{ ref('int_benchmark_subsets') }} as subsets using (study_id, benchmark, subset)
),

weighted as (
    select
        *,
        weight / nullif(sum(weight) over category, 0) as share_of_category,
        weight / nullif(sum(weight) over part, 0) as share_of_part,
        n / nullif(sum(n) over part, 0) as plain_share_of_part
    from subset_scores
    window
        category as (partition by study_id, reward_id, benchmark, figure_of, category),
        part as (partition by study_id, reward_id, benchmark, figure_of, part)
),

-- Shares of the parts add up to the number of parts that are there.
shares as (
    select
        *,
        sum(share_of_part) over (partition by study_id, reward_id, benchmark, figure_of) as n_present
    from weighted
),

-- Every row of the mart as a weighted mean of subsets.
listed as (
    select
        * replace (false as is_main),
        1.0 as share,
        'subset' as level
    from shares
    union all
    select
        * replace (null as subset, false as is_main),
        share_of_category as share,
        'category' as level
    from shares
    where
        category is not null
        and benchmark != 'rewardbench2'
    union all
    select
        * replace (
            null as subset,
            null as category,
            case when is_main then coalesce(figure, metric) else metric end as metric
        ),
        share_of_part / nullif(n_present, 0) as share,
        'whole' as level
    from shares
    where
        is_main
        or benchmark != 'rewardbench2'
    union all
    select
        * replace (null as subset, null as category, 'score_unweighted' as metric, false as is_main),
        plain_share_of_part / nullif(n_present, 0) as share,
        'whole' as level
    from shares
    where benchmark = 'rewardbench'
),

totals as (
    select
        study_id,
        reward_id,
        benchmark,
        subset,
        category,
        metric,
        is_main,
        level,
        sum(n)::bigint as n,
        sum(n_ties)::bigint as n_ties,
        sum(n_errors)::bigint as n_errors,
        -- Rounded: a sum of shares must not come out above 100, nor depend on the order of summing.
        round(100 * sum(share * mean), 9) as value,
        case
            when count(variance) = count(*) filter (where n > 0)
                then round(100 * sqrt(sum(share * share * variance)), 9)
        end as error,
        level = 'whole' and count(distinct part) filter (where n > 0) < any_value(n_parts) as is_partial,
        count(distinct part) filter (where n > 0) || ' of ' || any_value(n_parts) || ' parts: '
        || string_agg(distinct part, ', ' order by part) filter (where n > 0) as present
    from listed
    group by study_id, reward_id, benchmark, subset, category, metric, is_main, level
),

-- Without one of its parts a benchmark has no figure of its own; the mean of those that are there has another name.
figures as (
    select
        * replace (
            case when not is_partial then value end as value,
            case when not is_partial then error end as error,
            is_main and not is_partial as is_main
        )
    from totals
    union all
    select * replace ('mean_of_present' as metric)
    from totals
    where is_main and is_partial
),

-- Pairs of RewardBench: a study that is not synthetic may have a part of them.
whole_sizes as (
    select
        'rewardbench' as benchmark,
        category,
        subset,
        sum(n_examples) as n_whole
    from {{ ref('stg_rewardbench_subsets') }}
    group by grouping sets ((), (category), (category, subset))
),

with_sizes as (
    select
        figures.*,
        case when not coalesce(studies.synthetic, false) then whole_sizes.n_whole end as n_whole
    from figures
    left join {{ ref('stg_studies') }} as studies using (study_id)
    left join whole_sizes
        on
            figures.benchmark = whole_sizes.benchmark
            and figures.category is not distinct from whole_sizes.category
            and figures.subset is not distinct from whole_sizes.subset
),

all_metrics as (
    select
        study_id,
        reward_id,
        benchmark,
        subset,
        category,
        metric,
        is_main,
        value,
        error,
        value - {{ var('reach_of_95_percent') }} * error as low,
        value + {{ var('reach_of_95_percent') }} * error as high,
        n,
        n_ties,
        n_errors,
        concat_ws(
            '; ',
            case when n = 0 then 'no item has a reward' end,
            case when is_partial then 'only ' || present end,
            case
                when n + n_errors < n_whole
                    then 'the study has ' || (n + n_errors) || ' of the ' || n_whole || ' items of RewardBench'
            end,
            case when n > 0 and n_errors > 0 then n_errors || ' of ' || (n + n_errors) || ' items have no reward' end,
            case
                when value is not null and n < {{ var('min_items') }}
                    then 'fewer than {{ var('min_items') }} items: no interval'
            end,
            case
                when value is not null and n >= {{ var('min_items') }} and error = 0
                    then 'all items alike: no interval'
            end
        ) as reasons
    from with_sizes
    union all by name
    select
        study_id,
        reward_id,
        benchmark,
        metric,
        false as is_main,
        value,
        standard_error as error,
        low,
        high,
        n,
        coalesce(reason || ': no interval', '') as reasons
    from {{ ref('int_reward_variances') }}
),

with_kind as (
    select
        all_metrics.*,
        sources.kind
    from all_metrics
    inner join {{ ref('stg_reward_sources') }} as sources using (study_id, reward_id)
)

select
    study_id,
    reward_id,
    kind,
    benchmark,
    subset,
    category,
    metric,
    is_main,
    n = max(n) over (
        partition by study_id, benchmark, subset, category, case when is_main then 'main' else metric end
    ) as is_comparable,
    value,
    case when n >= {{ var('min_items') }} then nullif(error, 0) end as standard_error,
    case when n >= {{ var('min_items') }} and error > 0 then low end as low,
    case when n >= {{ var('min_items') }} and error > 0 then high end as high,
    n,
    n_ties,
    n_errors,
    coalesce(nullif(reasons, ''), 'ok') as status
from with_kind
