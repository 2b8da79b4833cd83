with scores as (
    select
        study_id,
        benchmark,
        reward_id,
        metric,
        value
    from {{ ref('fct_benchmark_scores') }}
    where is_main
),

sides as (
    select
        study_id,
        benchmark,
        unnest([reward_a, reward_b]) as reward_id,
        unnest([difference_points, -difference_points]) as difference_points,
        is_told_apart
    from {{ ref('fct_benchmark_score_differences') }}
    where subset is null
),

counted as (
    select
        study_id,
        benchmark,
        reward_id,
        count(*) as n_others,
        count(*) filter (where is_told_apart and difference_points < 0) as n_better,
        count(*) filter (where is_told_apart and difference_points > 0) as n_worse
    from sides
    group by study_id, benchmark, reward_id
)

select
    scores.study_id,
    scores.benchmark,
    scores.reward_id,
    scores.metric,
    scores.value,
    coalesce(counted.n_others, 0)::integer as n_compared,
    coalesce(counted.n_better, 0)::integer as n_better,
    coalesce(counted.n_worse, 0)::integer as n_worse,
    (1 + coalesce(counted.n_better, 0))::integer as best_place,
    (1 + coalesce(counted.n_others, 0) - coalesce(counted.n_worse, 0))::integer as worst_place,
    coalesce(counted.n_better, 0) = 0 as is_in_first_group
from scores
left join counted using (study_id, benchmark, reward_id)
