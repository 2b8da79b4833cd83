select
    study_id,
    race_id,
    objective,
    place,
    rung,
    look_id,
    is_of_race
from {{ source('raw', 'race_entries') }}
