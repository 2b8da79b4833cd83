with scores as (
    select * from {{ ref('int_domain_scores') }}
),

-- Every domain by itself, and once more under the name of all.
listed as (
    select
        *,
        domain as shown_domain
    from scores
    union all by name
    select
        *,
        'all' as shown_domain
    from scores
),

-- The sample is drawn domain by domain, so the variance of the mean over all is that of a stratified sample; of one
-- domain it is the ordinary one.
summed as (
    select
        study_id,
        model_id,
        shown_domain,
        sum(n_ok + n_errors)::bigint as n_documents,
        sum(n_errors)::bigint as n_errors,
        sum(n_truncated)::bigint as n_truncated,
        {% for kind in score_kinds() %}
            sum(n_{{ kind }} * mean_{{ kind }}) / nullif(sum(n_{{ kind }}), 0) as mean_{{ kind }},
            case
                when bool_and(n_{{ kind }} = 0 or variance_{{ kind }} is not null)
                    then sqrt(sum(n_{{ kind }} * variance_{{ kind }})) / nullif(sum(n_{{ kind }}), 0)
            end as standard_error_{{ kind }},
        {% endfor %}
        -sum(logprob_sum) / (ln(2) * nullif(sum(n_bytes_scored), 0)) as total_bits_per_byte
    from listed
    group by study_id, model_id, shown_domain
)

select
    donors.study_id,
    donors.model_id,
    donors.donor_model_id,
    donors.corpus,
    summed.shown_domain as domain,
    donors.engine,
    summed.n_documents,
    summed.n_errors,
    summed.n_truncated,
    {% for kind in score_kinds() %}
        summed.mean_{{ kind }},
        summed.standard_error_{{ kind }},
    {% endfor %}
    summed.total_bits_per_byte
from {{ ref('int_score_donors') }} as donors
inner join summed
    on
        donors.study_id = summed.study_id
        and donors.donor_model_id = summed.model_id
