with source as (
    select * from {{ ref('benchmark_metrics') }}
)

select
    benchmark,
    metric,
    priority as metric_priority,
    remark
from source
