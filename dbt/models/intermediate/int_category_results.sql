with subsets as (
    select
        *,
        accuracy / 100 as p,
        -- Below 0 where items are won in part, which lowers the variance; 0 for pairs.
        (n_squares - n_points) / n_scored as excess
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

-- The benchmark's weights among the subsets that have pairs. The variance is that of a weighted mean of independent
-- subsets, each with its sample variance, of pairs p(1-p) n/(n-1); a subset of one has none, and then nor has the mean.
select
    study_id,
    objective,
    model_id,
    category,
    -- Rounded: a sum of shares must not come out above 100, nor depend on the order of summing.
    round(100 * sum(share * p), 9) as accuracy,
    case
        when min(n_scored) > 1
            then 10000 * sum(share * share * greatest(p * (1 - p) + excess, 0) / nullif(n_scored - 1, 0))
    end as variance,
    1 / sum(share * share / n_scored) as n_effective,
    100 * sum(n_points) / sum(n_scored) as accuracy_unweighted,
    sum(n_scored)::integer as n_scored
from weighted
group by study_id, objective, model_id, category
