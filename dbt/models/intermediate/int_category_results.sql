with subsets as (
    select
        *,
        accuracy / 100 as p
    from {{ ref('int_subset_results') }}
    where
        category is not null
        and n_scored > 0
),

weighted as (
    select
        *,
        weight / sum(weight) over (partition by study_id, objective, model_id, category) as share
    from subsets
)

-- RewardBench's weights among the subsets that have pairs. The variance is that of a weighted mean of independent
-- subsets, each with its sample variance p(1-p) n/(n-1); a subset of one pair has none, and then nor has the mean.
select
    study_id,
    objective,
    model_id,
    category,
    -- Rounded: a sum of shares must not come out above 100, nor depend on the order of summing.
    round(100 * sum(share * p), 9) as accuracy,
    case
        when min(n_scored) > 1 then 10000 * sum(share * share * p * (1 - p) / nullif(n_scored - 1, 0))
    end as variance,
    1 / sum(share * share / n_scored) as n_effective,
    100 * sum(n_won) / sum(n_scored) as accuracy_unweighted,
    sum(n_scored)::integer as n_scored
from weighted
group by study_id, objective, model_id, category
