with source as (
    select * from {{ source('raw', 'studies') }}
)

select
    study_id,
    title,
    synthetic,
    source,
    use_loose_benchmarks
from source
