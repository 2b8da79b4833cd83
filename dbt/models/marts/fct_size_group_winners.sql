with placed as (
    select
        *,
        row_number() over (
            partition by study_id, objective, size_group
            order by score desc, model_id asc
        ) as place
    from {{ ref('fct_size_group_gains') }}
),

against_best as (
    select
        others.*,
        best.score - others.score as gap_points,
        differences.is_paired as is_gap_paired,
        differences.standard_error as gap_error,
        differences.error_with_runs as gap_error_with_runs
    from placed as others
    inner join placed as best
        on
            others.study_id = best.study_id
            and others.objective = best.objective
            and others.size_group = best.size_group
            and best.place = 1
    left join {{ ref('int_result_differences') }} as differences
        on
            best.study_id = differences.study_id
            and best.objective = differences.objective
            and best.objective = differences.other_objective
            and best.model_id = differences.model_id
            and others.model_id = differences.other_model_id
            and differences.category = 'score'
    where others.place > 1
),

rivals as (
    select
        study_id,
        objective,
        size_group,
        max(model_id) filter (where place = 2) as runner_up,
        max(score) filter (where place = 2) as runner_up_score,
        max(gap_points) filter (where place = 2) as gap_points,
        bool_or(is_gap_paired) filter (where place = 2) as is_gap_paired,
        max(gap_error) filter (where place = 2) as gap_error,
        max(gap_error_with_runs) filter (where place = 2) as gap_error_with_runs,
        count(*) filter (where gap_points < {{ var('reach_of_95_percent') }} * gap_error_with_runs) as n_close
    from against_best
    group by study_id, objective, size_group
)

select
    best.study_id,
    best.objective,
    best.size_group,
    best.size_group_position,
    best.model_id,
    best.params_b,
    best.score,
    best.is_near_chance,
    best.default_model_id,
    best.default_score,
    best.is_default,
    best.is_default_near_chance,
    best.gain_points,
    best.gain_percent,
    best.gain_over_median_points,
    best.is_paired,
    best.gain_low,
    best.gain_high,
    best.gain_low_with_runs,
    best.gain_high_with_runs,
    best.n_in_group,
    rivals.runner_up,
    rivals.runner_up_score,
    rivals.gap_points,
    rivals.is_gap_paired,
    rivals.gap_error,
    rivals.gap_error_with_runs,
    coalesce(rivals.n_close, 0)::integer as n_close
from placed as best
left join rivals using (study_id, objective, size_group)
where best.place = 1
