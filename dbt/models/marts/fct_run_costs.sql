{% set price = var('usd_per_gpu_hour') %}
with costs as (
    select
        *,
        case when is_gpu then device_hours else 0 end as gpu_hours
    from {{ ref('stg_run_costs') }}
)

select
    costs.study_id,
    costs.model_id,
    costs.job,
    costs.variant,
    objective,
    n_tokens,
    gpu_hours,
    device_hours,
    device,
    n_devices::integer as n_devices,
    is_gpu,
    peak_memory_gib,
    n_tokens / nullif(device_hours * 3600, 0) as tokens_per_device_second,
    plans.planned_device_hours,
    plans.planned_device_hours_low,
    plans.planned_device_hours_high,
    plans.planned_basis,
    100 * (plans.planned_device_hours / nullif(device_hours, 0) - 1) as planned_error_percent,
    {% if price is none -%}
        null::double as usd_per_gpu_hour,
        null::double as usd
    {%- else -%}
        {{ price }}::double as usd_per_gpu_hour,
        case when is_gpu then gpu_hours * {{ price }} end as usd
    {%- endif %}
from costs
left join {{ ref('stg_planned_costs') }} as plans using (study_id, model_id, job, variant)
