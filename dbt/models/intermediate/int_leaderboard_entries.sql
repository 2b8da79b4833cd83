-- What was looked up comes before what card, configuration or name say.
with entries as (
    select
        entries.study_id,
        entries.leaderboard,
        entries.snapshot_date,
        entries.entry,
        entries.kind,
        coalesce(entries.score, computed.score) as score,
        entries.results,
        entries.source,
        if(looked_up.entry is not null, looked_up.base_model, entries.base_model) as base_model,
        case
            when entries.kind = 'judge' then 'judge'
            else coalesce(looked_up.base_family, entries.base_family)
        end as base_family,
        case
            when entries.kind = 'judge' then 'judge'
            when looked_up.entry is not null then 'table'
            else entries.base_source
        end as base_source
    from {{ ref('stg_leaderboard_entries') }} as entries
    left join {{ ref('int_leaderboard_category_scores') }} as computed
        on
            entries.study_id = computed.study_id
            and entries.leaderboard = computed.leaderboard
            and entries.snapshot_date = computed.snapshot_date
            and entries.entry = computed.entry
    left join {{ ref('base_of_entry') }} as looked_up on entries.entry = looked_up.entry
)

select
    *,
    row_number() over (
        partition by study_id, leaderboard, snapshot_date
        order by score desc nulls last, entry asc
    ) as place
from entries
