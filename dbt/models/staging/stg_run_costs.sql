select
    study_id,
    model_id,
    job,
    variant,
    nullif(regexp_extract(variant, '^(regression|bradley_terry)(/s[0-9]+)?(@.*)?$', 1), '') as objective,
    n_tokens,
    device_seconds / 3600 as device_hours,
    device,
    n_devices,
    is_gpu,
    peak_memory_bytes / (1024 * 1024 * 1024) as peak_memory_gib
from {{ source('raw', 'run_costs') }}
