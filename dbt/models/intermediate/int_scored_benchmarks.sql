with scored as (
    select
        study_id,
        reward_id,
        benchmark,
        -- The reward that decides: of several attributes the merged one.
        min(attribute) as attribute,
        min(run_id) as run_id
    from {{ ref('stg_completion_rewards') }}
    where attribute in ('merged', 'reward')
    group by study_id, reward_id, benchmark
),

shapes as (
    select
        study_id,
        benchmark,
        max(item_no) + 1 as n_items,
        max(completion_no) + 1 as n_completions
    from {{ ref('int_benchmark_completions') }}
    group by study_id, benchmark
)

select
    scored.study_id,
    scored.reward_id,
    scored.benchmark,
    scored.attribute,
    scored.run_id,
    shapes.n_items,
    shapes.n_completions,
    (
        sum(shapes.n_items * shapes.n_completions) over (
            order by scored.study_id, scored.reward_id, scored.benchmark
        ) - shapes.n_items * shapes.n_completions
    )::bigint as first_place
from scored
inner join shapes using (study_id, benchmark)
