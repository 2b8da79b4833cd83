select
    study_id,
    benchmark,
    subset,
    item_id,
    completion,
    place,
    is_correct,
    style,
    generator,
    generator_family,
    n_bytes
from {{ source('raw', 'item_completions') }}
