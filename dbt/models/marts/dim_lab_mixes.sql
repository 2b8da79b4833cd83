select
    study_id,
    model_id,
    domain,
    share,
    pretrained_model_id,
    pretraining_tokens,
    parameters_m,
    architecture,
    hidden::integer as hidden,
    layers::integer as layers,
    vocabulary::integer as vocabulary
from {{ ref('stg_lab_mixes') }}
