select
    study_id,
    leaderboard,
    snapshot_date,
    entry,
    place::integer as place,
    score,
    to_json(results)::varchar as results,
    kind,
    base_model,
    base_family,
    base_source,
    source
from {{ ref('int_leaderboard_entries') }}
