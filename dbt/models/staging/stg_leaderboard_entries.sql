with imported as (
    select
        study_id,
        leaderboard,
        snapshot_date::date as snapshot_date,
        entry,
        kind,
        score,
        categories::json::map (varchar, double) as results,
        base_model,
        base_family,
        base_source,
        source
    from {{ source('raw', 'leaderboard_entries') }}
),

-- Dated as arXiv 2506.01937, which prints it.
printed as (
    select
        seeds.study_id,
        'RewardBench 2' as leaderboard,
        date '2025-06-02' as snapshot_date,
        entries.entry,
        if(entries.kind = 'judge', 'judge', 'model') as kind,
        entries.average as score,
        map {
            'factuality': entries.factuality,
            'precise_if': entries.precise_if,
            'math': entries.math,
            'safety': entries.safety,
            'focus': entries.focus,
            'ties': entries.ties
        } as results,
        null::varchar as base_model,
        entries.base_family,
        'name' as base_source,
        entries.paper_table as source
    from {{ ref('rewardbench2_table3') }} as entries
    inner join {{ ref('stg_study_seeds') }} as seeds on seeds.seed = 'rewardbench2_table3'
)

select * from imported
union all
select * from printed
