with rewards as (
    select
        *,
        -- Reward that decides a pair: the scalar reward, or the five attributes merged. No reward model has both.
        attribute in ('merged', 'reward') as is_final
    from {{ ref('int_base_rewards') }}
    where benchmark = 'rewardbench'
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
    case
        when chosen_reward is null or rejected_reward is null then 'error'
        when chosen_reward > rejected_reward then 'won'
        when chosen_reward = rejected_reward then 'tie'
        else 'lost'
    end as outcome,
    case
        when chosen_reward is null or rejected_reward is null
            then coalesce(problem, 'a completion has no reward')
    end as problem
from paired
