with source as (
    select * from {{ ref('benchmark_results') }}
),

renamed as (
    select
        'published' as study_id,
        model_id,
        benchmark,
        metric,
        value,
        shots,
        source_repo,
        source_path,
        source_commit,
        source_benchmark,
        match,
        note,
        contains(coalesce(note, ''), 'preferred entry') as is_preferred_entry
    from source
)

select * from renamed
