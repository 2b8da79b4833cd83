with models as (
    select * from {{ ref('int_base_models') }}
    where is_compared or is_candidate
)

select
    models.study_id,
    models.model_id,
    benchmark_values.benchmark as feature,
    'benchmark' as feature_kind,
    benchmark_values.value,
    benchmark_values.measured_value,
    benchmark_values.pipeline,
    benchmark_values.is_main_pipeline,
    benchmark_values.pipeline_offset,
    benchmark_values.pipeline_offset_error,
    benchmark_values.metric,
    benchmark_values.match,
    benchmark_values.source
from models
inner join {{ ref('int_benchmark_values') }} as benchmark_values using (study_id, model_id)
union all by name
select
    study_id,
    model_id,
    feature,
    'training' as feature_kind,
    value,
    'stated by the publisher' as metric,
    'exact' as match,
    case when release_month is null then 'study file' else 'table_3_models' end as source
from models
unpivot (value for feature in (log10_params, params_b, tokens_t))
