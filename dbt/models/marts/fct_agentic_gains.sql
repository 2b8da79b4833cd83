-- Counts of the checks that are added: of several, sums over them.
with counts as (
    select
        weights.study_id,
        weights.reward_id,
        counted.benchmark,
        counted.policy_id,
        counted.prompt_set,
        sum(counted.n_checked) as n_checked,
        sum(counted.n_not_applicable) as n_not_applicable,
        sum(counted.n_failed) as n_failed,
        sum(counted.mean_value * counted.n_checked) / nullif(sum(counted.n_checked), 0) as mean_check,
        string_agg(counted.check_name || ', ' || counted.failures, '; ' order by counted.check_name) as failures
    from {{ ref('stg_agentic_weights') }} as weights
    inner join {{ ref('int_check_counts') }} as counted using (study_id, check_name)
    group by all
),

weights as (
    select
        study_id,
        reward_id,
        count(*) as n_checks,
        string_agg(check_name || ' ' || weight, ', ' order by check_name) as weights,
        any_value(is_fitted) as is_fitted,
        any_value(fit_benchmark) as fit_benchmark,
        any_value(n_fit_items) as n_fit_items,
        any_value(optimism_points) as optimism_points
    from {{ ref('stg_agentic_weights') }}
    group by all
)

select
    gains.study_id,
    gains.reward_id,
    gains.plain_reward_id,
    gains.added,
    weights.n_checks,
    weights.weights,
    weights.is_fitted,
    weights.fit_benchmark,
    weights.n_fit_items,
    weights.optimism_points,
    gains.compared_on,
    coalesce(
        gains.benchmark, gains.policy_id || ', ' || gains.prompt_set || ', gold: ' || gains.gold_id
    ) as place,
    gains.benchmark,
    gains.policy_id,
    gains.prompt_set,
    gains.gold_id,
    gains.metric,
    gains.n_best_of,
    gains.n,
    gains.n_left_out,
    gains.n_better,
    gains.n_worse,
    gains.value_plain,
    gains.value,
    gains.gain,
    gains.low,
    gains.high,
    counts.n_checked::bigint as n_checked,
    counts.n_not_applicable::bigint as n_not_applicable,
    counts.n_failed::bigint as n_failed,
    counts.mean_check,
    counts.failures,
    gains.status
from {{ ref('int_agentic_gains') }} as gains
inner join weights using (study_id, reward_id)
left join counts
    on
        gains.study_id = counts.study_id
        and gains.reward_id = counts.reward_id
        and gains.benchmark is not distinct from counts.benchmark
        and gains.policy_id is not distinct from counts.policy_id
        and gains.prompt_set is not distinct from counts.prompt_set
