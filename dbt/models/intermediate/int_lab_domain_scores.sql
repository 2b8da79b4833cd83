-- Only models that were scored themselves: one that shares another's scores would count twice.
with donors as (
    select * from {{ ref('int_score_donors') }}
    where model_id = donor_model_id
),

scored as (
    select
        mixes.study_id,
        mixes.model_id,
        mixes.pretrained_model_id,
        mixes.domain,
        mixes.share,
        log10(1e6 * mixes.parameters_m) as log10_parameters,
    {% for kind in lab_score_kinds() %}
        scores.mean_{{ kind }}{{ ',' if not loop.last }}
    {% endfor %}
    from {{ ref('stg_lab_mixes') }} as mixes
    inner join donors using (study_id, model_id)
    left join {{ ref('int_domain_scores') }} as scores using (study_id, model_id, domain)
)

{% for kind in lab_score_kinds() %}
    select
        study_id,
        model_id,
        pretrained_model_id,
        domain,
        share,
        log10_parameters,
        '{{ kind }}' as score_kind,
        mean_{{ kind }} * {{ -1 if kind == 'bits_per_byte' else 1 }} as mean_score
    from scored
    {{ 'union all by name' if not loop.last }}
{% endfor %}
