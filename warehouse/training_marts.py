"""Reading the marts of training and evaluation: one SELECT per input, each returning a Polars frame.

As `warehouse.marts`, but a mart that is not built gives an empty frame without columns, and a study that trained
nothing of its own gives an empty one. Accuracies and differences are in percent and percentage points (0-100).
"""

from __future__ import annotations

import duckdb
import polars as pl

from warehouse import marts
from warehouse.performance_marts import select_if_built

MANY_MODELS = 12
"""With more models than this the report draws fewer points: the page would grow too big."""
POINTS_OF_OTHERS = 50
"""Points of the curve of a run that was not chosen, besides its checkpoints."""


def subsets(connection: duckdb.DuckDBPyConnection, study_id: str) -> pl.DataFrame:
    """One row per objective, subset and model: pairs won; only subsets that some model has pairs of.

    By category (null last) and RewardBench's order of size; accuracy is null where a model has no pairs.
    """
    return _select(
        connection,
        "fct_reward_model_subsets",
        """
        select
            objective, category, subset, model_id, n_examples, n_pairs, n_won, n_ties, n_errors, accuracy
        from marts.fct_reward_model_subsets
        where study_id = $study_id
        qualify max(n_pairs) over (partition by objective, subset) > 0
        order by
            {objective_order},
            list_position(['chat', 'chat_hard', 'safety', 'reasoning'], category) nulls last,
            n_examples desc, subset, model_id
        """,
        study_id,
    )


def comparisons(connection: duckdb.DuckDBPyConnection, study_id: str) -> pl.DataFrame:
    """One row per objective and model but the defaults: pair by pair against the default of its size group.

    Counts and p are over all pairs; the difference is that of the score, largest first, null without all categories.
    """
    return _select(
        connection,
        "fct_reward_model_comparisons",
        """
        select
            objective, model_id, size_group, default_model_id, n_pairs, n_both, n_only_model, n_only_default, n_neither,
            mcnemar_p, difference_points, difference_low, difference_high
        from marts.fct_reward_model_comparisons
        where study_id = $study_id and category = 'score'
        order by {objective_order}, difference_points desc nulls last, model_id
        """,
        study_id,
    )


def rate_search(connection: duckdb.DuckDBPyConnection, study_id: str) -> pl.DataFrame:
    """One row per objective, model and training run at its best checkpoint, by rate and seed."""
    return _select(
        connection,
        "fct_learning_rate_search",
        """
        select
            objective, model_id, training_run, learning_rate, seed, status, reason, is_selected, n_steps,
            n_steps_planned, best_step, best_validation_accuracy, best_validation_standard_error, n_validation_pairs,
            search_method, search_status, search_n_steps, search_n_steps_full_grid, accuracy_choosing_half,
            accuracy_other_half, optimism_points
        from marts.fct_learning_rate_search
        where study_id = $study_id
        order by {objective_order}, model_id, learning_rate, seed
        """,
        study_id,
    )


def learning_curves(connection: duckdb.DuckDBPyConnection, study_id: str) -> pl.DataFrame:
    """One row per objective, model, training run and step, for drawing.

    Runs that were not chosen keep POINTS_OF_OTHERS or so of the mart's 200 points, evenly spaced, and all checkpoints.
    With more than MANY_MODELS models they are left out, and the chosen ones keep every second point.
    """
    return _select(
        connection,
        "fct_learning_curves",
        f"""
        with numbered as (
            select
                *,
                row_number() over run as place,
                count(*) over (partition by objective, model_id, training_run) as n_points
            from marts.fct_learning_curves
            where study_id = $study_id
            window run as (partition by objective, model_id, training_run order by step)
        ),

        counted as (select count(distinct model_id) as n_models from numbered)

        select
            objective, model_id, training_run, learning_rate, seed, status, is_selected, step, loss, gradient_norm,
            n_tokens, checkpoint_step, validation_accuracy
        from numbered
        cross join counted
        where
            validation_accuracy is not null and (is_selected or n_models <= {MANY_MODELS})
            or is_selected and (n_models <= {MANY_MODELS} or place % 2 = 0 or n_points <= {POINTS_OF_OTHERS})
            or n_models <= {MANY_MODELS} and place % ceil(n_points / {POINTS_OF_OTHERS}) = 0
        order by {{objective_order}}, model_id, is_selected, training_run, step
        """,
        study_id,
    )


def run_costs(connection: duckdb.DuckDBPyConnection, study_id: str) -> pl.DataFrame:
    """One row per job, variant and model, the dearest first within a job and variant."""
    return _select(
        connection,
        "fct_run_costs",
        """
        select
            job, variant, objective, model_id, n_tokens, gpu_hours, device_hours, device, n_devices, is_gpu,
            peak_memory_gib, tokens_per_device_second, usd_per_gpu_hour, usd
        from marts.fct_run_costs
        where study_id = $study_id
        order by
            list_position(['train_reward_model', 'score_completions', 'score_documents', 'run_benchmarks'], job),
            variant, device_hours desc, model_id
        """,
        study_id,
    )


def _select(connection: duckdb.DuckDBPyConnection, mart: str, query: str, study_id: str) -> pl.DataFrame:
    text = query.format(objective_order=f"{marts.OBJECTIVE_ORDER}, objective")
    return select_if_built(connection, mart, text, {"study_id": study_id})
