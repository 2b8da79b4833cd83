with outcomes as (
    select * from {{ ref('int_pair_outcomes') }}
),

subsets as (
    select * from {{ ref('stg_rewardbench_subsets') }}
),

reward_models as (
    select
        study_id,
        objective,
        model_id,
        any_value(run_id) as run_id
    from outcomes
    group by study_id, objective, model_id
),

counted as (
    select
        study_id,
        objective,
        model_id,
        subset,
        count(*) as n_pairs,
        count(*) filter (where outcome = 'won') as n_won,
        count(*) filter (where outcome = 'tie') as n_ties,
        count(*) filter (where outcome = 'error') as n_errors
    from outcomes
    group by study_id, objective, model_id, subset
),

-- A synthetic study has its own test set: it is whole with all the pairs that any of its reward models was scored on.
own_sizes as (
    select
        counted.study_id,
        counted.subset,
        max(counted.n_pairs)::integer as n_examples
    from counted
    inner join {{ ref('stg_studies') }} as studies using (study_id)
    where studies.synthetic
    group by counted.study_id, counted.subset
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
    cross join subsets
),

joined as (
    select
        listed.study_id,
        listed.objective,
        listed.model_id,
        subsets.category,
        listed.subset,
        subsets.weight,
        case
            when studies.synthetic then coalesce(own_sizes.n_examples, 0)
            else coalesce(subsets.n_examples, 0)
        end as n_examples,
        coalesce(counted.n_pairs, 0) as n_pairs,
        coalesce(counted.n_pairs - counted.n_errors, 0) as n_scored,
        coalesce(counted.n_won, 0) as n_won,
        coalesce(counted.n_ties, 0) as n_ties,
        coalesce(counted.n_errors, 0) as n_errors
    from listed
    left join subsets using (subset)
    left join {{ ref('stg_studies') }} as studies using (study_id)
    left join own_sizes using (study_id, subset)
    left join counted using (study_id, objective, model_id, subset)
)

select
    joined.*,
    -- A pair without a reward is neither won nor lost: it is counted, and the result is marked incomplete.
    case when joined.n_scored > 0 then 100 * joined.n_won / joined.n_scored end as accuracy,
    reward_models.run_id
from joined
inner join reward_models using (study_id, objective, model_id)
