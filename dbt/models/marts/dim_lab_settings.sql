select
    study_id,
    setting,
    value
from {{ ref('stg_lab_settings') }}
union all by name
-- The weights behind the preferences beside the settings of the lab.
select
    study_id,
    'weight_' || attribute as setting,
    weight as value
from {{ ref('stg_lab_attribute_weights') }}
