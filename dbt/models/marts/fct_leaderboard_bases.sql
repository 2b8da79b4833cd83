with entries as (
    select * from {{ ref('int_leaderboard_entries') }}
),

-- A merge counts for each of its bases, by equal shares; of bases of one family these add up.
bases as (
    select
        study_id,
        leaderboard,
        snapshot_date,
        place,
        base_source,
        unnest(string_split(base_family, ' + ')) as family,
        1.0 / len(string_split(base_family, ' + ')) as weight
    from entries
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
        bases.family,
        sum(bases.weight) as n,
        sum(bases.weight) filter (where bases.base_source = 'name') as n_by_name
    from tops
    inner join bases
        on
            tops.study_id = bases.study_id
            and tops.leaderboard = bases.leaderboard
            and tops.snapshot_date = bases.snapshot_date
            and (tops.k is null or tops.k >= bases.place)
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
