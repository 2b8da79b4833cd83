with scored as (
    select
        gains.*,
        coalesce(results.score_standard_error, results.score_standard_error_approximate) as standard_error,
        results.score_standard_error is null as is_approximate,
        row_number() over (
            partition by gains.study_id, gains.objective, gains.size_group
            order by gains.score desc, gains.model_id asc
        ) as place
    from {{ ref('fct_size_group_gains') }} as gains
    inner join {{ ref('fct_reward_model_results') }} as results using (study_id, objective, model_id)
    where gains.score is not null
),

-- Errors of the two scores taken as independent, which is rather too wide: both models were scored on the same pairs.
against_best as (
    select
        scored.*,
        best.score - scored.score as gap_points,
        sqrt(best.standard_error ** 2 + scored.standard_error ** 2) as gap_error
    from scored
    inner join scored as best
        on
            scored.study_id = best.study_id
            and scored.objective = best.objective
            and scored.size_group = best.size_group
            and best.place = 1
    where scored.place > 1
),

rivals as (
    select
        study_id,
        objective,
        size_group,
        max(model_id) filter (where place = 2) as runner_up,
        max(score) filter (where place = 2) as runner_up_score,
        max(gap_points) filter (where place = 2) as gap_points,
        max(gap_error) filter (where place = 2) as gap_error,
        count(*) filter (where gap_points < 1.959963984540054 * gap_error) as n_close
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
    best.default_model_id,
    best.default_score,
    best.is_default,
    best.gain_points,
    best.gain_percent,
    best.gain_low_approximate,
    best.gain_high_approximate,
    best.n_in_group,
    best.is_approximate,
    rivals.runner_up,
    rivals.runner_up_score,
    rivals.gap_points,
    rivals.gap_error,
    coalesce(rivals.n_close, 0)::integer as n_close
from scored as best
left join rivals using (study_id, objective, size_group)
where best.place = 1
