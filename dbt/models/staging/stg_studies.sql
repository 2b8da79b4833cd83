select
    study_id,
    title,
    synthetic,
    source,
    use_loose_benchmarks,
    answer_on
from {{ source('raw', 'studies') }}
