with measured as (
    select pipeline_values.*
    from {{ ref('int_pipeline_values') }} as pipeline_values
    inner join {{ ref('int_base_models') }} as models using (study_id, model_id)
    where models.is_compared
),

counted as (
    select
        study_id,
        feature,
        pipeline,
        count(*) as n_models,
        rank() over (
            partition by study_id, feature
            order by count(*) desc, count(*) filter (where match = 'exact') desc, min(metric_priority) asc
        ) as place
    from measured
    group by study_id, feature, pipeline
),

-- The main pipeline of a feature: most models, then most exact matches, then the preferred metric. Where that leaves
-- two, there is none, and the feature has no values: a name decides nothing.
main as (
    select
        study_id,
        feature,
        min(pipeline) as main_pipeline
    from counted
    where place = 1
    group by study_id, feature
    having count(*) = 1
),

shared as (
    select
        other.study_id,
        other.feature,
        other.pipeline,
        count(*) as n_shared_models,
        avg(other.measured_value - of_main.measured_value) as pipeline_offset,
        stddev_samp(other.measured_value - of_main.measured_value) / sqrt(count(*)) as standard_error
    from measured as other
    inner join main using (study_id, feature)
    inner join measured as of_main
        on
            other.study_id = of_main.study_id
            and other.feature = of_main.feature
            and other.model_id = of_main.model_id
            and main.main_pipeline = of_main.pipeline
    where other.pipeline != main.main_pipeline
    group by other.study_id, other.feature, other.pipeline
),

-- A pipeline that only candidates were measured in has no compared model.
pipelines as (
    select distinct
        study_id,
        feature,
        pipeline
    from {{ ref('int_pipeline_values') }}
),

compared as (
    select
        pipelines.study_id,
        pipelines.feature,
        pipelines.pipeline,
        main.main_pipeline,
        coalesce(pipelines.pipeline = main.main_pipeline, false) as is_main_pipeline,
        coalesce(counted.n_models, 0)::integer as n_models,
        coalesce(shared.n_shared_models, 0)::integer as n_shared_models,
        shared.pipeline_offset,
        shared.standard_error
    from pipelines
    left join counted using (study_id, feature, pipeline)
    left join main using (study_id, feature)
    left join shared using (study_id, feature, pipeline)
)

select
    study_id,
    feature,
    pipeline,
    main_pipeline,
    is_main_pipeline,
    n_models,
    case when is_main_pipeline then n_models else n_shared_models end as n_shared_models,
    case when is_main_pipeline then 0 else pipeline_offset end as pipeline_offset,
    standard_error,
    is_main_pipeline or n_shared_models >= {{ var('minimum_shared_models') }} as is_joined
from compared
