with only_gold as (
    select
        study_id,
        min(gold_id) as gold_id
    from {{ ref('stg_gold_rewards') }}
    group by study_id
    having count(*) = 1
),

golds as (
    select
        rewards.study_id,
        rewards.policy_id,
        rewards.prompt_set,
        rewards.prompt_id,
        rewards.response_no,
        coalesce(
            max(rewards.reward) filter (where rewards.attribute = 'merged'),
            max(rewards.reward) filter (where rewards.attribute = 'reward')
        ) as gold
    from {{ ref('stg_response_rewards') }} as rewards
    inner join only_gold on rewards.study_id = only_gold.study_id and rewards.reward_id = only_gold.gold_id
    where rewards.status = 'ok'
    group by all
),

by_prompt as (
    select
        responses.study_id,
        responses.policy_id,
        responses.prompt_set,
        prompts.split,
        responses.prompt_id,
        count(*) as n,
        count(*) filter (where responses.status = 'empty') as n_empty,
        count(*) filter (where responses.status not in ('ok', 'empty')) as n_failed,
        count(distinct responses.content_hash) filter (where responses.status in ('ok', 'empty')) as n_distinct,
        count(*) filter (where responses.finish_reason = 'stop') as n_finished,
        count(*) filter (where responses.finish_reason in ('stop', 'length')) as n_sampled,
        sum(responses.n_tokens) as n_tokens,
        sum(golds.gold) as gold,
        count(golds.gold) as n_gold
    from {{ ref('stg_responses') }} as responses
    inner join {{ ref('stg_prompts') }} as prompts using (study_id, prompt_set, prompt_id)
    left join golds using (study_id, policy_id, prompt_set, prompt_id, response_no)
    group by all
)

select
    study_id,
    policy_id,
    prompt_set,
    split,
    count(*)::integer as n_prompts,
    sum(n)::integer as n,
    sum(n_empty)::integer as n_empty,
    sum(n_failed)::integer as n_failed,
    avg(n_distinct / nullif(n - n_failed, 0)) as share_distinct,
    sum(n_finished) / nullif(sum(n_sampled), 0) as share_finished,
    sum(n_tokens) / nullif(sum(n_sampled), 0) as mean_tokens,
    sum(gold) / nullif(sum(n_gold), 0) as mean_gold
from by_prompt
group by study_id, policy_id, prompt_set, split
