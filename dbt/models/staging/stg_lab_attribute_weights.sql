with source as (
    select * from {{ source('raw', 'lab_attribute_weights') }}
)

select
    study_id,
    attribute,
    weight
from source
