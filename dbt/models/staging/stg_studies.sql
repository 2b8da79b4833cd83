select
    study_id,
    title,
    synthetic,
    source,
    use_loose_benchmarks
from {{ source('raw', 'studies') }}
