-- A scoring has at most as many documents as the sample that it was made of: two parts never hold the same shard.
with samples as (
    select
        study_id,
        corpus,
        count(*) as n_sampled
    from {{ ref('stg_documents') }}
    group by study_id, corpus
)

select
    scorings.study_id,
    scorings.model_id,
    scorings.corpus,
    scorings.engine,
    scorings.n_documents,
    samples.n_sampled
from {{ ref('int_document_scorings') }} as scorings
inner join samples using (study_id, corpus)
where scorings.n_documents > samples.n_sampled
