select
    study_id,
    setting,
    value
from {{ ref('stg_lab_settings') }}
union all by name
-- What the preferences were made with stands beside how they were made.
select
    study_id,
    'weight_' || attribute as setting,
    weight as value
from {{ ref('stg_lab_attribute_weights') }}
