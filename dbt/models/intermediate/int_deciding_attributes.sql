select
    study_id,
    reward_id,
    policy_id,
    prompt_set,
    case when bool_or(attribute = 'merged') then 'merged' else 'reward' end as attribute
from {{ ref('stg_response_rewards') }}
where attribute in ('merged', 'reward')
group by study_id, reward_id, policy_id, prompt_set
