-- Reward models that are trained on a variant of the preferences, each with that of the same base model, objective and
-- rate on the preferences themselves.
select
    variants.study_id,
    variants.model_id,
    variants.objective,
    variants.data_id,
    variants.reward_id,
    reference.data_id as reference_data_id,
    reference.reward_id as reference_id
from {{ ref('stg_reward_sources') }} as variants
inner join {{ ref('stg_reward_sources') }} as reference
    on
        variants.study_id = reference.study_id
        and reference.kind = 'trained'
        and reference.reward_id = variants.model_id || '/' || variants.objective
where variants.is_on_variant
