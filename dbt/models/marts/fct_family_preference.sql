select
    study_id,
    benchmark,
    reward_family,
    generator_family,
    lower(reward_family) = lower(generator_family) as is_own_family,
    n_rewards,
    n_other_rewards,
    n_items,
    n_completions,
    mean_rank,
    mean_rank_others,
    preference,
    low,
    high,
    coalesce(reason || ': no interval', 'ok') as status
from {{ ref('int_family_preferences') }}
