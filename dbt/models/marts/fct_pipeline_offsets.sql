with models as (
    select
        study_id,
        model_id
    from {{ ref('int_base_models') }}
    where is_compared
),

used as (
    select
        chosen.study_id,
        chosen.benchmark as feature,
        chosen.pipeline,
        count(*) as n_used
    from {{ ref('int_benchmark_values') }} as chosen
    inner join models using (study_id, model_id)
    group by chosen.study_id, chosen.benchmark, chosen.pipeline
)

select
    offsets.study_id,
    offsets.feature,
    offsets.pipeline,
    offsets.main_pipeline,
    offsets.is_main_pipeline,
    offsets.n_models,
    offsets.n_shared_models,
    offsets.pipeline_offset,
    offsets.standard_error,
    offsets.is_joined,
    coalesce(used.n_used, 0)::integer as n_used
from {{ ref('int_pipeline_offsets') }} as offsets
left join used using (study_id, feature, pipeline)
