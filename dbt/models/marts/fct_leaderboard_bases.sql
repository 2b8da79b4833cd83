with entries as (
    select * from {{ ref('int_leaderboard_bases') }}
),

sizes as (
    select
        study_id,
        leaderboard,
        snapshot_date,
        max(place) as n_entries
    from entries
    group by study_id, leaderboard, snapshot_date
),

-- The best 10, 30 and 100 where there are more entries, and all.
tops as (
    select
        sizes.*,
        limits.top_k,
        limits.k
    from sizes
    cross join (values ('10', 10), ('30', 30), ('100', 100), ('all', null)) as limits (top_k, k)
    where limits.k is null or limits.k < sizes.n_entries
),

counted as (
    select
        tops.study_id,
        tops.leaderboard,
        tops.snapshot_date,
        tops.top_k,
        entries.family,
        sum(entries.weight) as n,
        sum(entries.weight) filter (where entries.base_source = 'name') as n_by_name
    from tops
    inner join entries
        on
            tops.study_id = entries.study_id
            and tops.leaderboard = entries.leaderboard
            and tops.snapshot_date = entries.snapshot_date
            and (tops.k is null or tops.k >= entries.place)
    group by all
),

shares as (
    select
        *,
        sum(n) over top as n_entries,
        coalesce(sum(n) filter (where family = 'judge') over top, 0) as judges,
        coalesce(sum(n) filter (where family = 'unknown') over top, 0) as unknown
    from counted
    window top as (partition by study_id, leaderboard, snapshot_date, top_k)
)

select
    study_id,
    leaderboard,
    snapshot_date,
    top_k,
    family,
    n,
    coalesce(n_by_name, 0) as n_by_name,
    round(n_entries)::integer as n_entries,
    judges,
    unknown,
    n / n_entries as share,
    if(family in ('judge', 'unknown'), null, n / (n_entries - judges - unknown)) as share_of_known,
    {{ wilson_bound('n / n_entries', 'n_entries', '-') }} as low,
    {{ wilson_bound('n / n_entries', 'n_entries', '+') }} as high
from shares
