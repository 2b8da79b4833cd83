with models as (
    select
        study_id,
        model_id,
        coalesce(family, model_id) as family
    from {{ ref('int_base_models') }}
),

mix as (
    select
        donors.study_id,
        donors.model_id,
        models.family,
        donors.donor_model_id,
        lower(scores.domain) as domain,
        scores.mean_presence_score
    from {{ ref('int_score_donors') }} as donors
    inner join {{ ref('int_domain_scores') }} as scores
        on
            donors.study_id = scores.study_id
            and donors.donor_model_id = scores.model_id
    inner join models
        on
            donors.study_id = models.study_id
            and donors.model_id = models.model_id
    where scores.mean_presence_score is not null
)

select
    study_id,
    model_id,
    'mix_presence_' || domain as feature,
    'mix' as feature_kind,
    mean_presence_score as value,
    'mean presence score' as metric,
    'exact' as match,
    'documents scored under ' || donor_model_id as source
from mix
union all by name
-- A draw per family for every feature of the mix, and for the same models: the effect that a family label could fake.
select
    study_id,
    model_id,
    'placebo_' || domain as feature,
    'placebo' as feature_kind,
    {{ standard_normal("family || '/placebo_' || domain") }} as value,
    'random, one draw per family' as metric,
    'exact' as match,
    'hash of family and feature' as source
from mix
