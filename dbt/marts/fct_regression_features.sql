with features as (
    select * from {{ ref('int_model_features') }}
),

models as (
    select * from {{ ref('int_base_models') }}
    where is_compared
),

study_sizes as (
    select
        study_id,
        count(*) as n_models
    from models
    group by study_id
)

select
    features.study_id,
    features.model_id,
    models.publisher,
    models.family,
    features.feature,
    features.feature_kind,
    features.value,
    features.metric,
    features.match,
    features.source,
    (count(*) over (partition by features.study_id, features.feature))::integer as n_models,
    count(*) over (partition by features.study_id, features.feature) / study_sizes.n_models as share_of_models
from features
inner join models
    on
        features.study_id = models.study_id
        and features.model_id = models.model_id
inner join study_sizes on features.study_id = study_sizes.study_id
