-- What was looked up comes before what card, configuration or name say.
with entries as (
    select
        entries.study_id,
        entries.leaderboard,
        entries.snapshot_date,
        entries.entry,
        entries.kind,
        coalesce(entries.score, computed.score) as score,
        if(entries.kind = 'judge', 'judge', coalesce(looked_up.base_family, entries.base_family)) as families,
        case when looked_up.entry is not null then 'table' else entries.base_source end as base_source,
        row_number() over (
            partition by entries.study_id, entries.leaderboard, entries.snapshot_date
            order by coalesce(entries.score, computed.score) desc nulls last, entries.entry
        ) as place
    from {{ ref('stg_leaderboard_entries') }} as entries
    left join {{ ref('int_leaderboard_category_scores') }} as computed
        on
            entries.study_id = computed.study_id
            and entries.leaderboard = computed.leaderboard
            and entries.snapshot_date = computed.snapshot_date
            and entries.entry = computed.entry
    left join {{ ref('base_of_entry') }} as looked_up on lower(entries.entry) = lower(looked_up.entry)
),

-- A merge counts for each of its bases, by equal shares.
bases as (
    select
        * exclude (families),
        unnest(string_split(families, ' + ')) as family,
        1.0 / len(string_split(families, ' + ')) as weight
    from entries
)

select
    study_id,
    leaderboard,
    snapshot_date,
    entry,
    kind,
    score,
    place,
    base_source,
    family,
    sum(weight) as weight
from bases
group by all
