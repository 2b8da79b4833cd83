-- Rewards, distance and length of every saved policy of every finished policy run, per gold reward and prompt: means
-- over the responses to the prompt. Rewards are in standard deviations of the initial policy's, gold rewards as well.
with saved as (
    select
        runs.study_id,
        runs.policy_run_id,
        runs.policy_id,
        runs.reward_id,
        runs.method,
        runs.seed,
        runs.reward_scale,
        ends.policy_id as saved_policy_id,
        ends.step,
        ends.share_done
    from {{ ref('stg_policy_runs') }} as runs
    inner join {{ ref('stg_policy_run_policies') }} as ends using (study_id, policy_run_id)
    where runs.status = 'finished'
),

-- The prompt sets of the policies that were trained; the initial one may have others.
prompt_sets as (
    select distinct
        saved.study_id,
        saved.policy_run_id,
        responses.prompt_set
    from saved
    inner join {{ ref('stg_responses') }} as responses
        on saved.study_id = responses.study_id and saved.saved_policy_id = responses.policy_id
    where saved.step > 0
),

responses as (
    select responses.*
    from {{ ref('stg_responses') }} as responses
    inner join {{ ref('stg_prompts') }} as prompts using (study_id, prompt_set, prompt_id)
    where prompts.split = 'measure'
),

rewards as (
    select
        rewards.study_id,
        rewards.reward_id,
        rewards.policy_id,
        rewards.prompt_set,
        rewards.prompt_id,
        rewards.response_no,
        rewards.reward
    from {{ ref('stg_response_rewards') }} as rewards
    inner join {{ ref('int_deciding_attributes') }} using (study_id, reward_id, policy_id, prompt_set, attribute)
    where
        rewards.status = 'ok'
        and isfinite(rewards.reward)
),

golds as (
    select
        golds.study_id,
        golds.gold_id,
        rewards.policy_id,
        rewards.prompt_set,
        -- As of the reward that teaches: an epsilon of 1e-8 beside the variance.
        sqrt(var_pop(rewards.reward) + 1e-8) as gold_scale
    from {{ ref('stg_gold_rewards') }} as golds
    inner join rewards on golds.study_id = rewards.study_id and golds.gold_id = rewards.reward_id
    inner join responses
        on
            rewards.study_id = responses.study_id
            and rewards.policy_id = responses.policy_id
            and rewards.prompt_set = responses.prompt_set
            and rewards.prompt_id = responses.prompt_id
            and rewards.response_no = responses.response_no
    group by all
)

select
    saved.study_id,
    saved.policy_run_id,
    saved.policy_id,
    prompt_sets.prompt_set,
    saved.reward_id,
    saved.method,
    golds.gold_id,
    saved.seed,
    saved.step,
    saved.share_done,
    responses.prompt_id,
    avg(proxies.reward) / any_value(saved.reward_scale) as proxy,
    avg(gold_rewards.reward) / any_value(golds.gold_scale) as gold,
    avg(case when saved.step = 0 then 0.0 else responses.logprob - responses.reference_logprob end) as kl,
    avg(responses.n_tokens) as length,
    count(proxies.reward) / count(*) as share_rewarded
from saved
inner join prompt_sets using (study_id, policy_run_id)
inner join responses
    on
        saved.study_id = responses.study_id
        and saved.saved_policy_id = responses.policy_id
        and prompt_sets.prompt_set = responses.prompt_set
left join golds
    on
        saved.study_id = golds.study_id
        and saved.policy_id = golds.policy_id
        and prompt_sets.prompt_set = golds.prompt_set
left join rewards as proxies
    on
        saved.study_id = proxies.study_id
        and saved.reward_id = proxies.reward_id
        and saved.saved_policy_id = proxies.policy_id
        and responses.prompt_set = proxies.prompt_set
        and responses.prompt_id = proxies.prompt_id
        and responses.response_no = proxies.response_no
left join rewards as gold_rewards
    on
        golds.study_id = gold_rewards.study_id
        and golds.gold_id = gold_rewards.reward_id
        and saved.saved_policy_id = gold_rewards.policy_id
        and responses.prompt_set = gold_rewards.prompt_set
        and responses.prompt_id = gold_rewards.prompt_id
        and responses.response_no = gold_rewards.response_no
group by all
