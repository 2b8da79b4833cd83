with sizes as (
    select
        study_id,
        policy_id,
        prompt_set,
        max(prompt_no) + 1 as n_prompts,
        max(column_no) + 1 as n_columns
    from {{ ref('int_measured_responses') }}
    group by study_id, policy_id, prompt_set
)

select
    rewards.study_id,
    rewards.reward_id,
    rewards.policy_id,
    rewards.prompt_set,
    rewards.attribute,
    sizes.n_prompts,
    sizes.n_columns,
    coalesce(
        sum(sizes.n_prompts * sizes.n_columns) over (
            order by rewards.study_id, rewards.policy_id, rewards.prompt_set, rewards.reward_id
            rows between unbounded preceding and 1 preceding
        ),
        0
    )::bigint as first_place
from {{ ref('int_deciding_attributes') }} as rewards
inner join sizes using (study_id, policy_id, prompt_set)
