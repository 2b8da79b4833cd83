with models as (
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
from {{ ref('int_model_features') }} as features
inner join {{ ref('int_category_values') }} as targets using (study_id, model_id)
inner join models using (study_id, model_id)
