select
    study_id,
    size_group,
    position as size_group_position,
    params_b_from,
    params_b_below,
    default_model_id
from {{ source('raw', 'size_groups') }}
