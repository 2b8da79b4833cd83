-- Each size group of a study has its default among the models of that very group.
select
    size_groups.study_id,
    size_groups.size_group,
    size_groups.default_model_id,
    models.params_b,
    models.size_group as group_of_default
from {{ ref('stg_size_groups') }} as size_groups
left join {{ ref('int_base_models') }} as models
    on
        size_groups.study_id = models.study_id
        and size_groups.default_model_id = models.model_id
where
    models.model_id is null
    or not models.is_compared
    or models.size_group != size_groups.size_group
