-- Gains at the end of policy runs; of a run that failed, its reason.
select
    gains.study_id,
    gains.policy_id,
    gains.prompt_set,
    gains.reward_id,
    gains.method,
    gains.gold_id,
    gains.scope,
    gains.policy_run_id,
    gains.seed,
    gains.n_seeds,
    gains.proxy_gain,
    gains.proxy_gain_low,
    gains.proxy_gain_high,
    gains.gold_gain,
    gains.gold_gain_low,
    gains.gold_gain_high,
    gains.kl,
    gains.kl_low,
    gains.kl_high,
    gains.length_change,
    gains.length_change_low,
    gains.length_change_high,
    gains.proxy_gain_min,
    gains.proxy_gain_max,
    gains.gold_gain_min,
    gains.gold_gain_max,
    gains.common_kl,
    gains.gold_at_common_kl,
    gains.gold_at_common_kl_low,
    gains.gold_at_common_kl_high,
    gains.alpha,
    gains.beta,
    gains.kl_peak,
    gains.gold_peak,
    gains.curve_status,
    gains.share_rewarded,
    gains.n_prompts,
    gains.seeds,
    case
        when gains.gold_gain is null and golds.kind = 'labels' then 'nobody labelled responses of the trained policies'
        else gains.status
    end as status
from {{ ref('int_policy_gains') }} as gains
left join {{ ref('stg_gold_rewards') }} as golds
    on gains.study_id = golds.study_id and gains.gold_id = golds.gold_id
where gains.share_done = 1
union all by name
select
    study_id,
    policy_id,
    'none' as prompt_set,
    reward_id,
    method,
    'none' as gold_id,
    'run' as scope,
    policy_run_id,
    seed,
    1 as n_seeds,
    '1 seed' as seeds,
    'failed: ' || reason as status
from {{ ref('stg_policy_runs') }}
where status = 'failed'
