with recursive models as (
    select * from {{ ref('stg_base_models') }}
),

-- Walk from each model to its parents; the last one reached is the model that post-training began from.
-- Study files with a circle of parents are refused; the depth ends the walk in any other case.
lineage as (
    select
        study_id,
        model_id,
        parent_model_id as ancestor_id,
        1 as depth
    from models
    where parent_model_id is not null
    union all
    select
        lineage.study_id,
        lineage.model_id,
        parents.parent_model_id as ancestor_id,
        lineage.depth + 1 as depth
    from lineage
    inner join models as parents
        on
            lineage.study_id = parents.study_id
            and lineage.ancestor_id = parents.model_id
    where
        parents.parent_model_id is not null
        and lineage.depth < 100
),

roots as (
    select
        study_id,
        model_id,
        arg_max(ancestor_id, depth) as base_model_id
    from lineage
    group by study_id, model_id
),

-- Figures of the study file, or else of the seed of Table 3.
described as (
    select
        models.study_id,
        models.model_id,
        models.hub_id,
        models.revision,
        models.family,
        models.stage,
        models.parent_model_id,
        models.is_compared,
        models.is_candidate,
        figures.release_month,
        models.licence,
        figures.likes,
        coalesce(models.downloads, figures.downloads) as downloads,
        coalesce(models.publisher, figures.publisher) as publisher,
        coalesce(models.params_b, figures.params_b) as params_b,
        coalesce(models.tokens_t, figures.tokens_t) as tokens_t
    from models
    left join {{ ref('stg_published_models') }} as figures using (study_id, model_id)
)

select
    described.study_id,
    described.model_id,
    described.hub_id,
    described.revision,
    described.publisher,
    described.family,
    described.params_b,
    log10(described.params_b) as log10_params,
    described.tokens_t,
    described.stage,
    described.parent_model_id,
    roots.base_model_id,
    size_groups.size_group,
    size_groups.size_group_position,
    size_groups.default_model_id,
    described.model_id = size_groups.default_model_id as is_default,
    described.is_compared,
    described.is_candidate,
    described.release_month,
    described.downloads,
    described.likes,
    described.licence
from described
left join roots using (study_id, model_id)
left join {{ ref('stg_size_groups') }} as size_groups
    on
        described.study_id = size_groups.study_id
        and described.params_b >= size_groups.params_b_from
        and (size_groups.params_b_below is null or described.params_b < size_groups.params_b_below)
