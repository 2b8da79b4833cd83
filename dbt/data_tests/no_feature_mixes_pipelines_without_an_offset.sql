-- Each benchmark value is of its feature's main pipeline, or an offset with a standard error is taken off it.
select
    features.study_id,
    features.model_id,
    features.feature,
    features.pipeline
from {{ ref('fct_regression_features') }} as features
left join {{ ref('fct_pipeline_offsets') }} as offsets using (study_id, feature, pipeline)
where
    features.feature_kind = 'benchmark'
    and (
        offsets.pipeline is null
        or not offsets.is_joined
        or features.is_main_pipeline != (features.pipeline = offsets.main_pipeline)
        or features.pipeline_offset is distinct from offsets.pipeline_offset
        or features.value is distinct from features.measured_value - features.pipeline_offset
        or (features.is_main_pipeline and features.pipeline_offset != 0)
        or (not features.is_main_pipeline and features.pipeline_offset_error is null)
    )
