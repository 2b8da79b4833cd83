select
    study_id,
    model_id,
    domain,
    share,
    pretrained_model_id,
    pretraining_tokens,
    parameters_m
from {{ source('raw', 'lab_mixes') }}
