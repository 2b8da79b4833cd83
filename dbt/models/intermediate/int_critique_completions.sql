-- Rewards of each completion by the four reward models that are compared: with own critiques, others', true ones, and
-- without any (Bradley-Terry, of the same base model and seed).
with sources as (
    select
        study_id,
        model_id,
        reward_id,
        objective
    from {{ ref('stg_reward_sources') }}
    where
        kind = 'trained'
        and objective in ('bradley_terry', 'critique')
        and reward_id = model_id || '/' || objective
),

critiqued as (
    select
        sources.study_id,
        sources.model_id,
        critiques.critiques,
        critiques.benchmark,
        critiques.subset,
        critiques.item_id,
        critiques.completion,
        list(critiques.reward order by critiques.critique_no) filter (where critiques.reward is not null) as rewards,
        count(*) as n_critiques,
        count(*) filter (where critiques.reward is null) as n_without_reward,
        -- Read once before all critiques, and then written and read for each.
        coalesce(max(critiques.n_tokens_read - critiques.n_tokens), 0) as n_tokens_asked,
        avg(coalesce(critiques.n_tokens, 0) + coalesce(critiques.n_tokens_read, 0)) as n_tokens_each
    from {{ ref('stg_critiques') }} as critiques
    inner join sources
        on
            critiques.study_id = sources.study_id
            and critiques.reward_id = sources.reward_id
    group by all
),

plain as (
    select
        sources.study_id,
        sources.model_id,
        'none' as critiques,
        rewards.benchmark,
        rewards.subset,
        rewards.item_id,
        rewards.completion,
        list(rewards.reward) filter (where rewards.status = 'ok' and isfinite(rewards.reward)) as rewards,
        1 as n_critiques,
        0 as n_without_reward,
        0 as n_tokens_asked,
        any_value(rewards.n_tokens)::double as n_tokens_each
    from {{ ref('stg_completion_rewards') }} as rewards
    inner join sources
        on
            rewards.study_id = sources.study_id
            and rewards.reward_id = sources.reward_id
            and sources.objective = 'bradley_terry'
    where
        exists (
            select 1
            from critiqued
            where
                critiqued.study_id = sources.study_id
                and critiqued.model_id = sources.model_id
        )
    group by all
),

listed as (
    select * from critiqued
    union all by name
    select * from plain
),

one_right as (
    select
        study_id,
        benchmark,
        subset,
        item_id,
        n_completions
    from {{ ref('stg_benchmark_items') }}
    where
        n_correct = 1
        and n_completions > 1
),

kinds as (
    select
        study_id,
        model_id,
        benchmark,
        count(distinct critiques) as n_kinds
    from listed
    group by study_id, model_id, benchmark
),

-- An item counts where each of its completions has a reward by each of the reward models.
items as (
    select
        listed.study_id,
        listed.model_id,
        listed.benchmark,
        listed.subset,
        listed.item_id,
        count(*) filter (where len(listed.rewards) > 0)
        = any_value(one_right.n_completions) * any_value(kinds.n_kinds) as is_counted
    from listed
    inner join one_right using (study_id, benchmark, subset, item_id)
    inner join kinds using (study_id, model_id, benchmark)
    group by listed.study_id, listed.model_id, listed.benchmark, listed.subset, listed.item_id
)

select
    listed.*,
    completions.is_correct,
    max(listed.n_critiques) over (
        partition by listed.study_id, listed.model_id, listed.critiques, listed.benchmark
    ) as n_most,
    items.is_counted
from listed
inner join items using (study_id, model_id, benchmark, subset, item_id)
inner join {{ ref('stg_item_completions') }} as completions
    using (study_id, benchmark, subset, item_id, completion)
