with weighted as (
    select
        category,
        n_examples,
        weight / sum(weight) over (partition by category) as share
    from {{ ref('stg_rewardbench_subsets') }}
)

-- The variance of a weighted mean of independent subsets is p(1-p) x sum(share^2 / n): its reciprocal acts as
-- the category's number of pairs. For Reasoning it is smaller than the count: math-prm weighs double.
select
    category,
    sum(n_examples)::integer as n_pairs,
    round(1 / sum(share * share / n_examples), 9) as n_effective
from weighted
group by category
