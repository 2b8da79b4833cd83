with source as (
    select * from {{ source('raw', 'performance_abstentions') }}
)

select
    study_id,
    objective,
    target,
    reason
from source
