with source as (
    select * from {{ source('raw', 'lab_settings') }}
)

select
    study_id,
    setting,
    value
from source
