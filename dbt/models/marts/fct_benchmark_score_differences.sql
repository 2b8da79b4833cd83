select
    study_id,
    benchmark,
    subset,
    reward_a,
    reward_b,
    n,
    100 * value_a as value_a,
    100 * value_b as value_b,
    100 * difference as difference_points,
    100 * low as low,
    100 * high as high,
    n_only_a,
    n_only_b,
    p_value,
    p_holm,
    coalesce(p_holm < 0.05, false) as is_told_apart,
    method,
    case
        when n < {{ var('min_items') }} then 'fewer than {{ var('min_items') }} items: no interval, no test'
        else 'ok'
    end as status
from {{ ref('int_score_comparisons') }}
