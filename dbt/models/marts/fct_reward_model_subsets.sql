select
    study_id,
    objective,
    model_id,
    category,
    subset,
    weight::integer as weight,
    n_examples::integer as n_examples,
    n_pairs::integer as n_pairs,
    n_won::integer as n_won,
    n_ties::integer as n_ties,
    n_errors::integer as n_errors,
    n_left_out::integer as n_left_out,
    accuracy
from {{ ref('int_subset_results') }}
