select
    study_id,
    reward_id,
    kind,
    model_id,
    objective,
    seed,
    data_id,
    hub_id,
    revision,
    scale,
    base_model,
    family,
    publisher,
    params_b,
    coalesce(kind = 'trained' and reward_id = model_id || '/' || objective || '/' || data_id, false) as is_on_variant
from {{ source('raw', 'reward_sources') }}
