with features as (
    select * from {{ ref('int_model_features') }}
),

targets as (
    select * from {{ ref('int_category_values') }}
),

models as (
    select * from {{ ref('int_base_models') }}
    where is_compared
)

select
    features.study_id,
    targets.objective,
    targets.category as target,
    features.feature,
    features.model_id,
    models.publisher,
    models.log10_params,
    features.value as feature_value,
    targets.value as target_value
from features
inner join targets using (study_id, model_id)
inner join models using (study_id, model_id)
