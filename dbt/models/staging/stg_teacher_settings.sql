select
    study_id,
    setting,
    value::json as value
from {{ source('raw', 'teacher_settings') }}
