with domains as (
    select
        study_id,
        count(distinct domain) as n_domains
    from {{ ref('int_domain_scores') }}
    where mean_bits_per_byte is not null
    group by study_id
),

scores as (
    select
        donors.study_id,
        donors.model_id,
        donors.donor_model_id,
        lower(scores.domain) as domain,
        scores.mean_presence_score,
        scores.mean_bits_per_byte,
        domains.n_domains,
        count(*) over of_model as n_own_domains,
        avg(scores.mean_bits_per_byte) over of_model as model_mean
    from {{ ref('int_score_donors') }} as donors
    inner join {{ ref('int_domain_scores') }} as scores
        on
            donors.study_id = scores.study_id
            and donors.donor_model_id = scores.model_id
    inner join domains on donors.study_id = domains.study_id
    where scores.mean_bits_per_byte is not null
    window of_model as (partition by donors.study_id, donors.model_id)
),

-- Means over different domains are no common centre.
mix as (
    select * from scores
    where n_own_domains = n_domains
)

select
    study_id,
    model_id,
    'mix_bits_' || domain as feature,
    'mix' as feature_kind,
    round(mean_bits_per_byte - model_mean, 12) as value,
    'bits per byte minus the model''s mean over domains' as metric,
    'exact' as match,
    'documents scored under ' || donor_model_id as source
from mix
union all by name
select
    study_id,
    model_id,
    'mix_paper_' || domain as feature,
    'mix_paper' as feature_kind,
    mean_presence_score as value,
    'mean presence score, as in the paper' as metric,
    'exact' as match,
    'documents scored under ' || donor_model_id as source
from mix
where mean_presence_score is not null
