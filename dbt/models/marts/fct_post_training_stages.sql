with category_values as (
    select * from {{ ref('int_category_values') }}
),

models as (
    select * from {{ ref('int_base_models') }}
),

-- The base model of a model from which others were post-trained is the model itself.
staged as (
    select
        study_id,
        model_id,
        stage,
        parent_model_id,
        coalesce(base_model_id, model_id) as base_model_id
    from models
    where
        base_model_id is not null
        or exists (
            select 1
            from models as descendants
            where
                models.study_id = descendants.study_id
                and models.model_id = descendants.base_model_id
        )
),

measured as (
    select
        staged.study_id,
        category_values.objective,
        staged.model_id,
        staged.stage,
        staged.base_model_id,
        staged.parent_model_id,
        category_values.category,
        category_values.value,
        base_values.value as base_value,
        parent_values.value as parent_value
    from staged
    inner join category_values using (study_id, model_id)
    inner join category_values as base_values
        on
            staged.study_id = base_values.study_id
            and staged.base_model_id = base_values.model_id
            and category_values.objective = base_values.objective
            and category_values.category = base_values.category
    left join category_values as parent_values
        on
            staged.study_id = parent_values.study_id
            and staged.parent_model_id = parent_values.model_id
            and category_values.objective = parent_values.objective
            and category_values.category = parent_values.category
)

select
    measured.study_id,
    measured.objective,
    measured.model_id,
    measured.stage,
    (case measured.stage when 'base' then 0 when 'sft' then 1 when 'dpo' then 2 when 'rlvr' then 3 else 4 end)::integer
        as stage_position,
    measured.base_model_id,
    measured.parent_model_id,
    measured.category,
    measured.value,
    measured.base_value,
    case when measured.model_id != measured.base_model_id then measured.value - measured.base_value end
        as change_points,
    case
        when measured.model_id != measured.base_model_id
            then 100 * (measured.value - measured.base_value) / nullif(measured.base_value, 0)
    end as change_percent,
    from_base.is_paired,
    from_base.standard_error as change_error,
    from_base.error_with_runs as change_error_with_runs,
    from_base.is_distinguishable as is_change_distinguishable,
    measured.value - measured.parent_value as change_from_parent_points,
    100 * (measured.value - measured.parent_value) / nullif(measured.parent_value, 0) as change_from_parent_percent,
    from_parent.standard_error as change_from_parent_error,
    from_parent.error_with_runs as change_from_parent_error_with_runs,
    from_parent.is_distinguishable as is_change_from_parent_distinguishable
from measured
left join {{ ref('int_result_differences') }} as from_base
    on
        measured.study_id = from_base.study_id
        and measured.objective = from_base.objective
        and measured.objective = from_base.other_objective
        and measured.model_id = from_base.model_id
        and measured.base_model_id = from_base.other_model_id
        and measured.category = from_base.category
left join {{ ref('int_result_differences') }} as from_parent
    on
        measured.study_id = from_parent.study_id
        and measured.objective = from_parent.objective
        and measured.objective = from_parent.other_objective
        and measured.model_id = from_parent.model_id
        and measured.parent_model_id = from_parent.other_model_id
        and measured.category = from_parent.category
