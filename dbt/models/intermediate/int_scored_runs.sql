{#- A run is one part and never changes, so it is counted once. Whether it is there still, and whole, one short column
    says: grouping tens of millions of rows by several takes ten times as long. The source is named twice, for DuckDB
    would hold all of a shared `with` query in memory. -#}
with {% if is_incremental() %}
    present as (
        select
            run_id,
            count(*) as n_documents
        from {{ ref('stg_document_scores') }}
        group by run_id
    ),

    unchanged as (
        select known.run_id
        from {{ this }} as known
        inner join present on known.run_id = present.run_id
        where known.code = '{{ model.checksum.checksum }}'
        group by known.run_id, present.n_documents
        having sum(known.n_documents) = present.n_documents
    ),

    kept as (
        select
            known.study_id,
            known.run_id,
            known.model_id,
            known.corpus,
            known.engine,
            known.n_documents,
            known.n_ok
        from {{ this }} as known
        inner join unchanged on known.run_id = unchanged.run_id
    ),

    fresh as (
        select present.run_id
        from present
        left join unchanged on present.run_id = unchanged.run_id
        where unchanged.run_id is null
    ),
{% endif %}

counted as (
    select
        scores.study_id,
        scores.run_id,
        any_value(scores.model_id) as model_id,
        any_value(scores.corpus) as corpus,
        any_value(scores.engine) as engine,
        count(*) as n_documents,
        count(*) filter (where scores.status = 'ok') as n_ok
    from {{ ref('stg_document_scores') }} as scores
    {% if is_incremental() %}
        inner join fresh on scores.run_id = fresh.run_id
    {% endif %}
    group by scores.study_id, scores.run_id
),

every_run as (
    select * from counted
    {% if is_incremental() %}
        union all
        select * from kept
    {% endif %}
)

select
    every_run.*,
    '{{ model.checksum.checksum }}' as code,
    '{{ invocation_id }}' as built_by
from every_run
