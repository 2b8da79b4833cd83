with runs as (
    select * from {{ ref('stg_reward_model_runs') }}
),

-- A search that came to no step leaves those of an earlier one in the table: run_id tells them apart.
steps as (
    select
        steps.*,
        row_number() over run_so_far as place,
        count(*) over whole_run as n_steps_of_run,
        sum(steps.n_tokens) over run_so_far as n_tokens_so_far
    from {{ ref('stg_reward_model_steps') }} as steps
    inner join runs using (study_id, objective, model_id, training_run, run_id)
    window
        whole_run as (partition by steps.study_id, steps.objective, steps.model_id, steps.training_run),
        run_so_far as (
            partition by steps.study_id, steps.objective, steps.model_id, steps.training_run
            order by steps.step
        )
),

-- At most 200 points a run: its steps are cut into that many stretches, equal in length to within one step.
placed as (
    select
        *,
        floor((place - 1) * least(200, n_steps_of_run) / n_steps_of_run) as stretch
    from steps
),

thinned as (
    select
        study_id,
        objective,
        model_id,
        training_run,
        run_id,
        stretch,
        min(step) as first_step,
        max(step) as step,
        count(*) as n_steps,
        sum(loss * n_examples) / sum(n_examples) as loss,
        avg(gradient_norm) as gradient_norm,
        max(n_tokens_so_far) as n_tokens
    from placed
    group by study_id, objective, model_id, training_run, run_id, stretch
),

checkpoints as (
    select
        thinned.study_id,
        thinned.objective,
        thinned.model_id,
        thinned.training_run,
        thinned.step,
        max(checkpoints.step) as checkpoint_step,
        arg_max(checkpoints.validation_accuracy, checkpoints.step) as validation_accuracy,
        arg_max(checkpoints.validation_loss, checkpoints.step) as validation_loss
    from thinned
    inner join {{ ref('stg_reward_model_checkpoints') }} as checkpoints
        on
            thinned.study_id = checkpoints.study_id
            and thinned.objective = checkpoints.objective
            and thinned.model_id = checkpoints.model_id
            and thinned.training_run = checkpoints.training_run
            and thinned.run_id = checkpoints.run_id
            and checkpoints.step between thinned.first_step and thinned.step
    group by thinned.study_id, thinned.objective, thinned.model_id, thinned.training_run, thinned.step
)

select
    thinned.study_id,
    thinned.objective,
    thinned.model_id,
    thinned.training_run,
    runs.learning_rate,
    runs.seed::integer as seed,
    runs.status,
    runs.is_selected,
    thinned.step::integer as step,
    thinned.n_steps::integer as n_steps,
    thinned.loss,
    thinned.gradient_norm,
    thinned.n_tokens::bigint as n_tokens,
    checkpoints.checkpoint_step::integer as checkpoint_step,
    checkpoints.validation_accuracy,
    checkpoints.validation_loss
from thinned
inner join runs using (study_id, objective, model_id, training_run)
left join checkpoints using (study_id, objective, model_id, training_run, step)
