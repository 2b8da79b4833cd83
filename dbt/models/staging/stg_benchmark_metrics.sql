with published as (
    select
        'published' as study_id,
        benchmark,
        metric,
        priority as metric_priority,
        remark
    from {{ ref('benchmark_metrics') }}
    where {{ listed_by_published('benchmark_metrics') }}
),

-- The metric that a study file states for a benchmark comes first.
of_studies as (
    select
        listed.study_id,
        listed.benchmark,
        listed.metric,
        0 as metric_priority,
        'stated in the study file' as remark
    from {{ source('raw', 'benchmarks') }} as listed
    left join published using (study_id, benchmark, metric)
    where published.benchmark is null
)

select * from published
union all by name
select * from of_studies
