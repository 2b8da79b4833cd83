select
    study_id,
    model_id,
    hub_id,
    revision,
    publisher,
    family,
    params_b,
    tokens_t,
    stage,
    parent_model_id,
    licence,
    downloads,
    is_compared,
    is_candidate
from {{ source('raw', 'base_models') }}
