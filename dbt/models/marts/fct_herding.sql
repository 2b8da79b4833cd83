select
    study_id,
    benchmark,
    base as base_relation,
    data as data_relation,
    n_reward_pairs,
    n_rewards,
    n_items,
    n_pairs,
    phi as mean_phi,
    low,
    high,
    both_wrong as all_wrong,
    both_wrong_if_independent as all_wrong_if_independent,
    coalesce(reason || ': no interval', 'ok') as status
from {{ ref('int_shared_errors') }}
where kind = 'class'
