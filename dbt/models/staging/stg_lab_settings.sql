select
    study_id,
    setting,
    value
from {{ source('raw', 'lab_settings') }}
