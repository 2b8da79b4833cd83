with sources as (
    select
        study_id,
        reward_id,
        base_model,
        family,
        data_id,
        objective,
        seed
    from {{ ref('stg_reward_sources') }}
)

select
    errors.study_id,
    errors.benchmark,
    errors.reward_a,
    errors.reward_b,
    one.base_model as base_a,
    other.base_model as base_b,
    one.base_model = other.base_model as same_base,
    one.family = other.family as same_family,
    one.data_id = other.data_id as same_data,
    one.objective = other.objective as same_objective,
    one.seed != other.seed as seed_differs,
    errors.n_items,
    errors.n_pairs,
    errors.error_a,
    errors.error_b,
    errors.phi,
    errors.low,
    errors.high,
    errors.both_wrong,
    errors.both_wrong_if_independent,
    errors.both_wrong - errors.both_wrong_if_independent as excess,
    coalesce(errors.reason, 'ok') as status
from {{ ref('int_shared_errors') }} as errors
inner join sources as one on errors.study_id = one.study_id and errors.reward_a = one.reward_id
inner join sources as other on errors.study_id = other.study_id and errors.reward_b = other.reward_id
where errors.kind = 'pair'
