with comparable as (
    select
        pipeline_values.*,
        offsets.is_main_pipeline,
        offsets.pipeline_offset,
        offsets.standard_error as pipeline_offset_error
    from {{ ref('int_pipeline_values') }} as pipeline_values
    inner join {{ ref('int_pipeline_offsets') }} as offsets using (study_id, feature, pipeline)
    where offsets.is_joined
)

select
    study_id,
    model_id,
    feature as benchmark,
    measured_value - pipeline_offset as value,
    measured_value,
    pipeline,
    is_main_pipeline,
    pipeline_offset,
    pipeline_offset_error,
    metric,
    match,
    shots,
    source
from comparable
-- The main pipeline; else the one with the most exact offset, if there is one: a name decides nothing.
qualify
    rank() over (
        partition by study_id, model_id, feature
        order by is_main_pipeline desc, pipeline_offset_error asc
    ) = 1
    and count(*) over (
        partition by study_id, model_id, feature, is_main_pipeline, pipeline_offset_error
    ) = 1
