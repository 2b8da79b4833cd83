with scores as (
    select
        study_id,
        benchmark,
        reward_id,
        value
    from {{ ref('fct_benchmark_scores') }}
    where is_main and is_comparable and value is not null
),

shared as (
    select
        scores.study_id,
        scores.benchmark as benchmark_a,
        others.benchmark as benchmark_b,
        scores.reward_id,
        scores.value as value_a,
        others.value as value_b
    from scores
    inner join scores as others
        on
            scores.study_id = others.study_id
            and scores.reward_id = others.reward_id
            and scores.benchmark < others.benchmark
),

-- Equal values share the mean of their ranks.
ranked as (
    select
        *,
        rank() over (partition by study_id, benchmark_a, benchmark_b order by value_a)
        + (count(*) over (partition by study_id, benchmark_a, benchmark_b, value_a) - 1) / 2 as rank_a,
        rank() over (partition by study_id, benchmark_a, benchmark_b order by value_b)
        + (count(*) over (partition by study_id, benchmark_a, benchmark_b, value_b) - 1) / 2 as rank_b
    from shared
),

correlations as (
    select
        study_id,
        benchmark_a,
        benchmark_b,
        count(*)::integer as n_rewards,
        case
            when count(distinct rank_a) > 1 and count(distinct rank_b) > 1 then round(corr(rank_a, rank_b), 12)
        end as spearman
    from ranked
    group by study_id, benchmark_a, benchmark_b
),

-- Fisher's transformation, with the variance of Bonett and Wright (2000) for ranks.
reach as (
    select
        *,
        case
            when n_rewards >= {{ var('min_rewards') }} and abs(spearman) < 1
                then {{ var('reach_of_95_percent') }} * sqrt((1 + spearman ** 2 / 2) / (n_rewards - 3))
        end as half_width
    from correlations
)

select
    study_id,
    benchmark_a,
    benchmark_b,
    n_rewards,
    spearman,
    tanh(atanh(spearman) - half_width) as low,
    tanh(atanh(spearman) + half_width) as high,
    case
        when n_rewards < {{ var('min_rewards') }} then 'fewer than {{ var('min_rewards') }} rewards: no interval'
        when spearman is null then 'one of the benchmarks ranks all alike'
        when half_width is null then 'equal or opposite ranks: no interval'
        else 'ok'
    end as status
from reach
