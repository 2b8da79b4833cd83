-- Result files of reward-bench hold the shares of the 23 subsets; an entry that lacks one has no score.
with results as (
    select
        study_id,
        leaderboard,
        snapshot_date,
        entry,
        unnest(map_entries(results)) as result
    from {{ ref('stg_leaderboard_entries') }}
),

categories as (
    select
        results.study_id,
        results.leaderboard,
        results.snapshot_date,
        results.entry,
        subsets.category,
        count(*) as n_subsets,
        sum(results.result.value * subsets.weight) / sum(subsets.weight) as value
    from results
    inner join {{ ref('stg_rewardbench_subsets') }} as subsets on results.result.key = subsets.subset
    group by all
),

entries as (
    select
        study_id,
        leaderboard,
        snapshot_date,
        entry,
        sum(n_subsets) = (select count(*) from {{ ref('stg_rewardbench_subsets') }}) as is_whole,
        any_value(value) filter (where category = 'chat') as chat,
        any_value(value) filter (where category = 'chat_hard') as chat_hard,
        any_value(value) filter (where category = 'safety') as safety,
        any_value(value) filter (where category = 'reasoning') as reasoning
    from categories
    group by study_id, leaderboard, snapshot_date, entry
)

select
    *,
    if(is_whole, (chat + chat_hard + safety + reasoning) / 4, null) as score
from entries
