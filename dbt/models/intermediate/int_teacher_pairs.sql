with teachers as (
    from (
        select
            study_id,
            paper_table,
            policy,
            gold,
            method,
            'all' as selection,
            reward_model,
            proxy_gain,
            gold_gain,
            reward_variance,
            on_policy_accuracy,
            off_policy_accuracy,
            mean_accuracy,
            variance_and_mean_accuracy,
            rewardbench
        from {{ ref('stg_published_teachers') }}
        where gold_gain is not null
    )
    unpivot (predictor_value for predictor in (
        reward_variance, on_policy_accuracy, off_policy_accuracy, mean_accuracy, variance_and_mean_accuracy, rewardbench
    ))
),

gains as (
    from teachers
    unpivot (target_value for target in (proxy_gain, gold_gain))
),

-- RewardBench 2, Table 8: all reward models; without those of flipped labels; those of the policy's own lineage.
selections as (
    from (
        values ('all', ['on', 'on_weak', 'off']), ('without flipped labels', ['on', 'off']), ('own lineage', ['on'])
    ) as chosen (selection, relations)
),

downstream as (
    from (
        select
            tables.study_id,
            tables.paper_table,
            tables.policy,
            'downstream benchmarks' as gold,
            selections.selection,
            tables.reward_model,
            'rewardbench2' as predictor,
            tables.rewardbench2 as predictor_value,
            tables.ppo,
            tables.best_of_16
        from {{ ref('stg_published_downstream') }} as tables
        inner join selections on list_contains(selections.relations, tables.relation)
    )
    unpivot (target_value for target in (ppo, best_of_16))
)

select
    study_id,
    paper_table,
    policy,
    gold,
    method,
    selection,
    reward_model,
    predictor,
    predictor_value,
    target,
    target_value
from gains
union all
select
    study_id,
    paper_table,
    policy,
    gold,
    if(target = 'ppo', 'PPO', 'best of 16') as method,
    selection,
    reward_model,
    predictor,
    predictor_value,
    target,
    target_value
from downstream
