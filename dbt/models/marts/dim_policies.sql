select
    study_id,
    policy_id,
    kind,
    model_id,
    hub_id,
    revision,
    family,
    stage,
    params_b,
    parent_policy_id,
    sampling,
    prompt_format,
    engine,
    source,
    licence
from {{ ref('stg_policies') }}
