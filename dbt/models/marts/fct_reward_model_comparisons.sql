with differences as (
    select *
    from {{ ref('int_result_differences') }}
    where
        is_paired
        and objective = other_objective
),

models as (
    select * from {{ ref('int_base_models') }}
    where is_compared
),

wanted as (
    select
        study_id,
        unnest(['regression', 'bradley_terry']) as objective,
        model_id,
        size_group,
        default_model_id as other_model_id,
        'default' as compared_with
    from models
    union all
    select
        study_id,
        objective,
        model_id,
        size_group,
        runner_up as other_model_id,
        'runner-up' as compared_with
    from {{ ref('fct_size_group_winners') }}
)

select
    wanted.study_id,
    wanted.objective,
    wanted.model_id,
    wanted.size_group,
    wanted.compared_with,
    wanted.other_model_id,
    differences.category,
    differences.n_pairs,
    differences.n_both,
    differences.n_only_model,
    differences.n_only_other,
    differences.n_neither,
    differences.difference_points,
    differences.standard_error,
    differences.low,
    differences.high,
    differences.low_with_runs,
    differences.high_with_runs,
    tests.sign_flip_p
from wanted
inner join differences using (study_id, objective, model_id, other_model_id)
left join {{ ref('int_sign_flip_tests') }} as tests
    using (study_id, objective, model_id, other_objective, other_model_id, category)
