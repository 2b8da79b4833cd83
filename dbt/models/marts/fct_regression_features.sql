with features as (
    select * from {{ ref('int_model_features') }}
    union all by name
    select * from {{ ref('int_mix_features') }}
),

models as (
    select * from {{ ref('int_base_models') }}
    where is_compared or is_candidate
),

-- Candidates have features but no result: how well a feature is known is counted over the compared models.
counts as (
    select
        features.study_id,
        features.feature,
        count(*) as n_models
    from features
    inner join models using (study_id, model_id)
    where models.is_compared
    group by features.study_id, features.feature
),

study_sizes as (
    select
        study_id,
        count(*) as n_models
    from models
    where is_compared
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
    features.pipeline,
    coalesce(features.measured_value, features.value) as measured_value,
    coalesce(features.is_main_pipeline, true) as is_main_pipeline,
    coalesce(features.pipeline_offset, 0) as pipeline_offset,
    features.pipeline_offset_error,
    features.metric,
    features.match,
    features.source,
    models.is_candidate,
    coalesce(counts.n_models, 0)::integer as n_models,
    coalesce(counts.n_models, 0) / study_sizes.n_models as share_of_models
from features
inner join models using (study_id, model_id)
inner join study_sizes using (study_id)
left join counts using (study_id, feature)
