with source as (
    select * from {{ ref('table_2_benchmarks') }}
)

select
    'published' as study_id,
    benchmark,
    framework,
    topic,
    shots,
    model_families,
    citation,
    note
from source
