with means as (
    select
        study_id,
        model_id,
        domain,
        score_kind,
        any_value(share) as share,
        round(avg(score), 12) as mean_score
    from {{ ref('int_lab_document_scores') }}
    group by study_id, model_id, domain, score_kind
),

-- The model's own level hangs on its size, training and tokenizer; what a mix changes is the order of the domains.
kinds as (
    select * from means
    union all by name
    select
        * replace (
            'centred_' || score_kind as score_kind,
            mean_score - avg(mean_score) over (partition by study_id, model_id, score_kind) as mean_score
        )
    from means
)

select
    kinds.study_id,
    kinds.model_id,
    kinds.domain,
    kinds.score_kind,
    kinds.share,
    kinds.mean_score,
    models.cell,
    models.mix,
    models.log10_parameters,
    models.pretraining_tokens
from kinds
inner join {{ ref('int_lab_models') }} as models using (study_id, model_id)
