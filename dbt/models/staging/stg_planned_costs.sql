select
    study_id,
    model_id,
    job,
    variant,
    device_seconds / 3600 as planned_device_hours,
    device_seconds_low / 3600 as planned_device_hours_low,
    device_seconds_high / 3600 as planned_device_hours_high,
    basis as planned_basis
from {{ source('raw', 'planned_costs') }}
