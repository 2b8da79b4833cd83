select
    study_id,
    model_id,
    domain,
    share,
    pretrained_model_id,
    pretraining_tokens,
    parameters_m,
    architecture,
    hidden,
    layers,
    vocabulary
from {{ source('raw', 'lab_mixes') }}
