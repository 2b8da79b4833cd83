with pairs as (
    select * from {{ ref('int_compared_pairs') }}
),

subsets as (
    select * from {{ ref('int_answer_subsets') }}
),

reward_models as (
    select
        study_id,
        objective,
        model_id,
        any_value(run_id) as run_id,
        bool_or(is_comparable) as is_comparable
    from pairs
    group by study_id, objective, model_id
),

counted as (
    select
        study_id,
        objective,
        model_id,
        subset,
        count(*) as n_pairs,
        count(*) filter (where is_counted) as n_scored,
        count(*) filter (where is_counted and outcome = 'won') as n_won,
        count(*) filter (where is_counted and outcome = 'tie') as n_ties,
        count(*) filter (where outcome = 'error') as n_errors,
        count(*) filter (where outcome != 'error' and not is_counted) as n_left_out,
        sum(value) filter (where is_counted) as n_points,
        sum(value * value) filter (where is_counted) as n_squares
    from pairs
    group by study_id, objective, model_id, subset
),

-- Every reward model has a row for every subset, also where the test set has no pairs of it.
listed as (
    select
        study_id,
        objective,
        model_id,
        subset
    from counted
    union distinct
    select
        reward_models.study_id,
        reward_models.objective,
        reward_models.model_id,
        subsets.subset
    from reward_models
    inner join subsets using (study_id)
)

select
    listed.study_id,
    listed.objective,
    listed.model_id,
    subsets.category,
    listed.subset,
    subsets.weight,
    coalesce(subsets.n_examples, 0) as n_examples,
    coalesce(counted.n_pairs, 0) as n_pairs,
    coalesce(counted.n_scored, 0) as n_scored,
    coalesce(counted.n_won, 0) as n_won,
    coalesce(counted.n_ties, 0) as n_ties,
    coalesce(counted.n_errors, 0) as n_errors,
    coalesce(counted.n_left_out, 0) as n_left_out,
    coalesce(counted.n_points, 0) as n_points,
    coalesce(counted.n_squares, 0) as n_squares,
    -- A pair without a reward is neither won nor lost: it is counted, and the result is marked incomplete.
    case when counted.n_scored > 0 then 100 * counted.n_points / counted.n_scored end as accuracy,
    reward_models.is_comparable,
    reward_models.run_id
from listed
inner join reward_models using (study_id, objective, model_id)
left join subsets using (study_id, subset)
left join counted using (study_id, objective, model_id, subset)
