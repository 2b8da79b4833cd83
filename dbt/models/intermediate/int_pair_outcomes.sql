with rewards as (
    select
        *,
        -- Reward that decides a pair: the scalar reward, or the five attributes merged. No reward model has both.
        attribute in ('merged', 'reward') as is_final
    from {{ ref('int_base_rewards') }}
),

paired as (
    select
        study_id,
        objective,
        model_id,
        reward_id,
        subset,
        item_id,
        any_value(run_id) as run_id,
        max(reward) filter (
            where is_final and completion = 'chosen' and status = 'ok' and isfinite(reward)
        ) as chosen_reward,
        max(reward) filter (
            where is_final and completion = 'rejected' and status = 'ok' and isfinite(reward)
        ) as rejected_reward,
        string_agg(distinct status, '; ' order by status) filter (where status != 'ok') as problem
    from rewards
    group by study_id, objective, model_id, reward_id, subset, item_id
),

pairs as (
    select
        *,
        case
            when chosen_reward is null or rejected_reward is null then 'error'
            when chosen_reward > rejected_reward then 'won'
            when chosen_reward = rejected_reward then 'tie'
            else 'lost'
        end as outcome
    from paired
)

select
    study_id,
    objective,
    model_id,
    reward_id,
    subset,
    item_id,
    run_id,
    chosen_reward,
    rejected_reward,
    case when outcome != 'error' then (outcome = 'won')::integer::double end as value,
    outcome,
    case when outcome = 'error' then coalesce(problem, 'a completion has no reward') end as problem
from pairs
union all
select
    sources.study_id,
    sources.objective,
    sources.model_id,
    sources.reward_id,
    item_values.subset,
    item_values.item_no::varchar as item_id,
    scored.run_id,
    null as chosen_reward,
    null as rejected_reward,
    item_values.value,
    case
        when item_values.value is null then 'error'
        when item_values.value >= 1 then 'won'
        when item_values.value > 0 then 'part'
        when item_values.is_tie then 'tie'
        else 'lost'
    end as outcome,
    case when item_values.value is null then 'a completion has no reward' end as problem
from {{ ref('int_answer_item_values') }} as item_values
inner join {{ ref('int_base_reward_sources') }} as sources using (study_id, reward_id)
inner join {{ ref('int_scored_benchmarks') }} as scored using (study_id, reward_id, benchmark)
