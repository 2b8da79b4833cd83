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
    costs.objective,
    costs.n_tokens,
    costs.gpu_hours,
    costs.device_hours,
    costs.device,
    costs.n_devices::integer as n_devices,
    costs.is_gpu,
    costs.peak_memory_gib,
    costs.n_tokens / nullif(costs.device_hours * 3600, 0) as tokens_per_device_second,
    plans.planned_device_hours,
    plans.planned_device_hours_low,
    plans.planned_device_hours_high,
    plans.planned_basis,
    100 * (plans.planned_device_hours / nullif(costs.device_hours, 0) - 1) as planned_error_percent,
    {% if price is none -%}
        null::double as usd_per_gpu_hour,
        null::double as usd
    {%- else -%}
        {{ price }}::double as usd_per_gpu_hour,
        case when costs.is_gpu then costs.gpu_hours * {{ price }} end as usd
    {%- endif %}
from costs
left join {{ ref('stg_planned_costs') }} as plans using (study_id, model_id, job, variant)
