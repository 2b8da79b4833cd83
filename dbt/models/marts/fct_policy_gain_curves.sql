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
    gains.step,
    gains.share_done,
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
    lengths.length_before,
    lengths.share_finished,
    lengths.share_finished_before,
    gains.share_rewarded,
    gains.n_prompts,
    gains.status
from {{ ref('int_policy_gains') }} as gains
left join {{ ref('int_saved_policy_lengths') }} as lengths
    on
        gains.study_id = lengths.study_id
        and gains.policy_id = lengths.policy_id
        and gains.prompt_set = lengths.prompt_set
        and gains.reward_id = lengths.reward_id
        and gains.method = lengths.method
        and gains.policy_run_id = lengths.policy_run_id
        and gains.step = lengths.step
