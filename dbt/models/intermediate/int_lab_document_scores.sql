-- Only models that were scored themselves: one that shares another's scores would count twice.
with donors as (
    select * from {{ ref('int_score_donors') }}
    where model_id = donor_model_id
),

scored as (
    select
        models.study_id,
        models.model_id,
        models.cell,
        models.mix,
        scores.document_id,
        scores.domain,
        scores.presence_score,
        -scores.bits_per_byte as bits_per_byte
    from {{ ref('int_lab_models') }} as models
    inner join donors using (study_id, model_id)
    inner join {{ ref('stg_document_scores') }} as scores
        on
            donors.study_id = scores.study_id
            and donors.model_id = scores.model_id
            and donors.corpus = scores.corpus
            and donors.engine = scores.engine
    where scores.status = 'ok'
)

select
    scored.study_id,
    scored.model_id,
    scored.cell,
    scored.mix,
    scored.document_id,
    scored.domain,
    mixes.share,
    kinds.score_kind,
    case kinds.score_kind when 'presence_score' then scored.presence_score else scored.bits_per_byte end as score
from scored
inner join {{ ref('stg_lab_mixes') }} as mixes using (study_id, model_id, domain)
cross join (values ('presence_score'), ('bits_per_byte')) as kinds (score_kind)
