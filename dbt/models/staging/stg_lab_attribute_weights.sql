select
    study_id,
    attribute,
    weight
from {{ source('raw', 'lab_attribute_weights') }}
