-- A search that came to no checkpoint leaves those of an earlier one in the table: run_id tells them apart.
-- As the search chooses: most pairs won, then the lowest validation loss, then the earliest step.
with ranked as (
    select
        *,
        row_number() over (
            partition by study_id, objective, model_id, training_run
            order by n_won desc, validation_loss asc nulls last, step asc
        ) as place
    from {{ ref('stg_reward_model_checkpoints') }}
    where validation_accuracy is not null
)

select
    runs.study_id,
    runs.objective,
    runs.model_id,
    runs.training_run,
    runs.learning_rate,
    runs.seed::integer as seed,
    runs.status,
    runs.reason,
    runs.is_selected,
    runs.n_steps::integer as n_steps,
    runs.n_steps_planned::integer as n_steps_planned,
    ranked.step::integer as best_step,
    ranked.validation_accuracy as best_validation_accuracy,
    ranked.n_pairs::integer as n_validation_pairs,
    sqrt(ranked.validation_accuracy * (100 - ranked.validation_accuracy) / ranked.n_pairs)
        as best_validation_standard_error,
    searches.method as search_method,
    searches.status as search_status,
    searches.n_steps::integer as search_n_steps,
    searches.n_steps_full_grid::integer as search_n_steps_full_grid,
    searches.accuracy_choosing_half,
    searches.accuracy_other_half,
    searches.optimism_points
from {{ ref('stg_reward_model_runs') }} as runs
left join {{ ref('stg_reward_model_searches') }} as searches using (study_id, objective, model_id, run_id)
left join ranked
    on
        runs.study_id = ranked.study_id
        and runs.objective = ranked.objective
        and runs.model_id = ranked.model_id
        and runs.training_run = ranked.training_run
        and runs.run_id = ranked.run_id
        and ranked.place = 1
