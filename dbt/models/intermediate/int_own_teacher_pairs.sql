with rewards as (
    select * from {{ ref('int_policy_rewards') }}
),

of_policy as (
    from (
        select
            rewards.*,
            properties.reward_variance,
            properties.within_variance_raw,
            properties.on_policy_accuracy,
            properties.on_policy_accuracy_strict,
            properties.on_policy_accuracy_half,
            off_policy.off_policy_accuracy,
            (properties.on_policy_accuracy + off_policy.off_policy_accuracy) / 2 as mean_accuracy,
            (properties.reward_variance + (properties.on_policy_accuracy + off_policy.off_policy_accuracy) / 2) / 2
                as variance_and_mean_accuracy,
            log10(rewards.params_b) as log10_params,
            (rewards.family = rewards.policy_family)::double as same_lineage
        from rewards
        inner join {{ ref('int_teacher_properties') }} as properties
            using (study_id, policy_id, prompt_set, gold_id, reward_id)
        left join {{ ref('int_off_policy_accuracies') }} as off_policy
            using (study_id, policy_id, prompt_set, gold_id, reward_id)
    )
    unpivot (predictor_value for predictor in (
        reward_variance, within_variance_raw, on_policy_accuracy, on_policy_accuracy_strict, on_policy_accuracy_half,
        off_policy_accuracy, mean_accuracy, variance_and_mean_accuracy, log10_params, same_lineage
    ))
),

of_benchmarks as (
    select
        rewards.*,
        scores.value as predictor_value,
        scores.benchmark || coalesce('_' || scores.category, '') as predictor
    from rewards
    inner join {{ ref('int_benchmark_scores') }} as scores using (study_id, reward_id)
    where
        scores.is_comparable
        and scores.value is not null
        and (
            scores.is_main
            or (
                scores.benchmark = 'rewardbench'
                and scores.metric = 'accuracy'
                and scores.category is not null
                and scores.subset is null
            )
        )
),

of_base_models as (
    select
        rewards.*,
        benchmarks.value as predictor_value,
        'base_' || benchmarks.benchmark as predictor
    from rewards
    inner join {{ ref('int_benchmark_values') }} as benchmarks
        on rewards.study_id = benchmarks.study_id and rewards.base_model = benchmarks.model_id
),

predictors as (
    from of_policy
    union all by name
    from of_benchmarks
    union all by name
    from of_base_models
),

-- The largest n for which there are twice as many responses.
best_of_n as (
    select
        study_id,
        policy_id,
        prompt_set,
        gold_id,
        reward_id,
        'best of n' as method,
        'best_of_n_gain' as target,
        gold_gain_sd as target_value
    from {{ ref('int_best_of_n') }}
    where
        selection = 'reward'
        and n > 1
        and not is_small_pool
    qualify n = max(n) over (partition by study_id, policy_id, prompt_set, gold_id)
),

peaks as (
    select
        study_id,
        policy_id,
        prompt_set,
        gold_id,
        reward_id,
        'best of n' as method,
        'peak_kl' as target,
        kl_peak as target_value
    from {{ ref('int_overoptimisation') }}
    where
        method = 'best_of_n'
        and status = 'inner_peak'
),

taught as (
    from (
        select
            study_id,
            policy_id,
            prompt_set,
            gold_id,
            reward_id,
            method,
            proxy_gain,
            gold_gain,
            case when curve_status = 'inner_peak' then kl_peak end as peak_kl
        from {{ ref('int_policy_gains') }}
        where
            scope = 'pooled'
            and share_done = 1
    )
    unpivot (target_value for target in (proxy_gain, gold_gain, peak_kl))
),

targets as (
    from best_of_n
    union all by name
    from peaks
    union all by name
    from taught
)

select
    predictors.study_id,
    predictors.policy_id as policy,
    predictors.gold_id as gold,
    targets.method,
    'all' as selection,
    predictors.reward_id as reward_model,
    predictors.base_model,
    predictors.predictor,
    predictors.predictor_value,
    targets.target,
    targets.target_value
from predictors
inner join targets using (study_id, policy_id, prompt_set, gold_id, reward_id)
where
    isfinite(predictors.predictor_value)
    and isfinite(targets.target_value)
