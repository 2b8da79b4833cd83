with rewardbench as (
    select
        study_id,
        reward_id,
        value
    from {{ ref('fct_benchmark_scores') }}
    where
        benchmark = 'rewardbench'
        and metric = 'score'
        and is_main
)

select
    properties.study_id,
    properties.reward_id,
    properties.policy_id,
    properties.prompt_set,
    properties.gold_id,
    policies.kind as policy_kind,
    properties.is_gold,
    properties.n_prompts,
    properties.n_prompts_left_out,
    properties.n_responses,
    properties.reward_mean,
    properties.reward_std,
    properties.reward_variance,
    properties.reward_variance_low,
    properties.reward_variance_high,
    properties.variance_min,
    properties.variance_q25,
    properties.variance_median,
    properties.variance_q75,
    properties.variance_max,
    properties.within_variance_raw,
    properties.within_variance_low,
    properties.within_variance_high,
    properties.between_variance_raw,
    properties.share_without_spread,
    properties.share_tied,
    properties.on_policy_accuracy,
    properties.on_policy_accuracy_low,
    properties.on_policy_accuracy_high,
    properties.on_policy_accuracy_strict,
    properties.on_policy_accuracy_strict_low,
    properties.on_policy_accuracy_strict_high,
    properties.on_policy_accuracy_half,
    properties.on_policy_accuracy_half_low,
    properties.on_policy_accuracy_half_high,
    properties.n_informative_pairs,
    off_policy.off_policy_accuracy,
    rewardbench.value as rewardbench_score,
    properties.length_correlation,
    properties.length_correlation_low,
    properties.length_correlation_high,
    properties.status
from {{ ref('int_teacher_properties') }} as properties
inner join {{ ref('stg_policies') }} as policies using (study_id, policy_id)
left join {{ ref('int_off_policy_accuracies') }} as off_policy
    using (study_id, reward_id, policy_id, prompt_set, gold_id)
left join rewardbench using (study_id, reward_id)
