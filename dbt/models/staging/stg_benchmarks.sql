with published as (
    select
        'published' as study_id,
        benchmark,
        framework,
        topic,
        shots,
        model_families,
        citation,
        note
    from {{ ref('table_2_benchmarks') }}
    where {{ listed_by_published('table_2_benchmarks') }}
),

-- Benchmarks of study files; for the published study the row of the seed stays.
of_studies as (
    select
        listed.study_id,
        listed.benchmark,
        listed.framework,
        listed.topic,
        listed.shots,
        null as model_families,
        null as citation,
        null as note
    from {{ source('raw', 'benchmarks') }} as listed
    left join published using (study_id, benchmark)
    where published.benchmark is null
)

select * from published
union all by name
select * from of_studies
