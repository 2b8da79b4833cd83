-- Within a benchmark, equal pipelines mean equal set-ups; a loose match may leave its shots unstated.
select
    benchmark,
    pipeline
from {{ ref('benchmark_results') }}
where match in ('exact', 'close')
group by benchmark, pipeline
having count(distinct shots) > 1
