-- Reward models on the policies that they are compared on, ends of policy runs left out: the base model of each.
select
    properties.study_id,
    properties.policy_id,
    properties.prompt_set,
    properties.gold_id,
    properties.reward_id,
    coalesce(sources.model_id, sources.base_model) as base_model,
    sources.family,
    sources.params_b,
    policies.family as policy_family
from {{ ref('int_teacher_properties') }} as properties
inner join {{ ref('int_teacher_prompt_sets') }} using (study_id, policy_id, gold_id, prompt_set)
inner join {{ ref('stg_policies') }} as policies
    on properties.study_id = policies.study_id and properties.policy_id = policies.policy_id
inner join {{ ref('stg_reward_sources') }} as sources
    on properties.study_id = sources.study_id and properties.reward_id = sources.reward_id
where
    sources.kind in ('trained', 'hub', 'imported')
    and not properties.is_gold
    and properties.reward_mean is not null
