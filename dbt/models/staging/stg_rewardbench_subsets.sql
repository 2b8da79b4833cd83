select
    category,
    subset,
    n_examples,
    weight,
    weight_in_category,
    length_bias
from {{ ref('rewardbench_subsets') }}
