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
    params_b
from {{ source('raw', 'reward_sources') }}
