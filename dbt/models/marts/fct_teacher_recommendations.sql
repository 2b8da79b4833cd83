with bases as (
    select
        study_id,
        base_model,
        any_value(family) as family,
        any_value(params_b) as params_b
    from {{ ref('int_teacher_candidates') }}
    group by study_id, base_model
),

training as (
    select
        study_id,
        model_id as base_model,
        objective,
        sum(device_hours) as hours
    from {{ ref('stg_run_costs') }}
    where
        job = 'train_reward_model'
        and variant = objective
    group by study_id, model_id, objective
),

teaching as (
    select
        study_id,
        policy_id,
        avg(device_seconds) / 3600 as hours
    from {{ ref('stg_policy_runs') }}
    where
        status = 'finished'
        and method in ('rloo', 'grpo')
    group by study_id, policy_id
)

select
    found.study_id,
    found.policy_id,
    found.gold_id,
    found.use,
    found.objective,
    found.size_limit_b,
    found.base_model,
    bases.family,
    bases.params_b,
    bases.family = policies.family as is_same_family,
    found.evidence,
    found.measure,
    found.expected,
    found.low,
    found.high,
    found.probability_best,
    found.runner_up,
    found.runner_up_expected,
    found.level_with,
    found.n_level::integer as n_level,
    found.n_compared::integer as n_compared,
    found.n_without::integer as n_without,
    training.hours as training_hours,
    case when found.use = 'rl' and found.base_model is not null then teaching.hours end as teaching_hours,
    found.reason
from {{ ref('int_teacher_recommendations') }} as found
inner join {{ ref('stg_policies') }} as policies
    on found.study_id = policies.study_id and found.policy_id = policies.policy_id
left join bases
    on found.study_id = bases.study_id and found.base_model = bases.base_model
left join training
    on
        found.study_id = training.study_id
        and found.base_model = training.base_model
        and found.objective = training.objective
left join teaching
    on found.study_id = teaching.study_id and found.policy_id = teaching.policy_id
