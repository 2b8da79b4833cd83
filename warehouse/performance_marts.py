"""Reading the marts of the performance model: one SELECT per input, each returning a Polars frame.

As `warehouse.marts`, but a mart that is not built gives an empty frame without columns: a warehouse without a
performance model is ordinary, and its readers say so in a sentence. A mart that lacks a column is still a MartError.
Predictions, errors and scores are in percentage points (0-100), coverage and frequencies between 0 and 1.
"""

from __future__ import annotations

import duckdb
import polars as pl

from warehouse import marts

TARGET = "score"
"""The target that the report and the recommendations are about."""


def predictions(connection: duckdb.DuckDBPyConnection, study_id: str) -> pl.DataFrame:
    """One row per objective, protocol, predictor and model, target score: predicted, 90 % interval, observed."""
    return _select(
        connection,
        "fct_performance_predictions",
        """
        select
            objective, protocol, predictor, model_id, predicted, interval_low, interval_high, observed, in_hull, fold
        from marts.fct_performance_predictions
        where study_id = $study_id and target = $target
        order by {objective_order}, {protocol_order}, predictor, model_id
        """,
        study_id,
    )


def scores(connection: duckdb.DuckDBPyConnection, study_id: str) -> pl.DataFrame:
    """One row per objective, protocol and predictor, target score: MAE with its 95 % interval, coverage, regret."""
    return _select(
        connection,
        "fct_performance_scores",
        """
        select
            objective, protocol, predictor, mae, mae_low, mae_high, coverage_at_5, coverage_at_10, regret_at_1,
            regret_at_5, n
        from marts.fct_performance_scores
        where study_id = $study_id and target = $target
        order by {objective_order}, {protocol_order}, mae, predictor
        """,
        study_id,
    )


def coefficients(connection: duckdb.DuckDBPyConnection, study_id: str) -> pl.DataFrame:
    """One row per objective, feature and protocol, target score (Figure 5).

    Features come by their largest |coefficient| under any protocol, then by selection frequency, then by name;
    `feature_position` counts them from 1 within the objective.
    """
    return _select(
        connection,
        "fct_performance_coefficients",
        """
        with strengths as (
            select
                objective, protocol, feature, coefficient, selection_frequency,
                max(abs(coefficient)) over (partition by objective, feature) as strength,
                max(selection_frequency) over (partition by objective, feature) as stability
            from marts.fct_performance_coefficients
            where study_id = $study_id and target = $target
        )

        select
            objective, protocol, feature, coefficient, selection_frequency,
            dense_rank() over (partition by objective order by strength desc, stability desc, feature)
                as feature_position
        from strengths
        order by {objective_order}, feature_position, {protocol_order}
        """,
        study_id,
    )


def final_settings(connection: duckdb.DuckDBPyConnection, study_id: str) -> pl.DataFrame:
    """One row per objective: what nested selection takes when it may see all models, target score."""
    return _select(
        connection,
        "fct_performance_choices",
        """
        select objective, selected_predictor, degree, alpha, l1_ratio
        from marts.fct_performance_choices
        where study_id = $study_id and target = $target and fold is null
        order by {objective_order}
        """,
        study_id,
    )


def predicted_coverage(connection: duckdb.DuckDBPyConnection, study_id: str) -> pl.DataFrame:
    """One row per objective, protocol, predictor and k, target score (Figures 6 and 10).

    size_coverage is that of log10_params under the same protocol, null where there is none.
    """
    return _select(
        connection,
        "fct_predicted_coverage",
        """
        with covered as (
            select objective, protocol, predictor, k, coverage, chance
            from marts.fct_predicted_coverage
            where study_id = $study_id and target = $target
        ),

        sizes as (
            select objective, protocol, k, coverage as size_coverage
            from covered
            where predictor = 'log10_params'
        )

        select objective, protocol, predictor, k, coverage, chance, size_coverage, round(k / chance)::integer as n
        from covered
        left join sizes using (objective, protocol, k)
        order by {objective_order}, {protocol_order}, predictor, k
        """,
        study_id,
    )


def abstentions(connection: duckdb.DuckDBPyConnection, study_id: str) -> pl.DataFrame:
    """One row per objective and target without a performance model, with the reason; the score first."""
    return _select(
        connection,
        "fct_performance_abstentions",
        """
        select objective, target, reason
        from marts.fct_performance_abstentions
        where study_id = $study_id
        order by {objective_order}, target <> $target, target, reason
        """,
        study_id,
    )


def excluded_features(connection: duckdb.DuckDBPyConnection, study_id: str) -> pl.DataFrame:
    """One row per feature that the performance model of the score leaves out and reason, with the objectives."""
    return _select(
        connection,
        "fct_performance_excluded_features",
        """
        select
            feature, share_of_models, reason, list(objective order by {objective_order}) as objectives
        from marts.fct_performance_excluded_features
        where study_id = $study_id and target = $target
        group by feature, share_of_models, reason
        order by share_of_models desc, feature, reason
        """,
        study_id,
    )


def components(connection: duckdb.DuckDBPyConnection, study_id: str) -> pl.DataFrame:
    """One row per capability component and benchmark (Figures 12 and 13), with the running sum of the shares."""
    return _select(
        connection,
        "fct_capability_components",
        """
        with shares as (
            select
                component,
                any_value(explained_variance_ratio) as share,
                sum(any_value(explained_variance_ratio)) over (order by component) as cumulative_ratio
            from marts.fct_capability_components
            where study_id = $study_id
            group by component
        )

        select
            component, explained_variance_ratio, cumulative_ratio, benchmark, loading, method, n_models, n_imputed
        from marts.fct_capability_components
        inner join shares using (component)
        where study_id = $study_id
        order by component, benchmark
        """,
        study_id,
    )


def recommendations(connection: duckdb.DuckDBPyConnection, study_id: str) -> pl.DataFrame:
    """One row per objective, size limit (null: none, last) and model, best first; abstentions (no rank) last."""
    return _select(
        connection,
        "fct_recommendations",
        """
        select
            objective, size_limit_b, rank, model_id, models.params_b, basis, expected_score, interval_low,
            interval_high, gain_points_over_default, probability_best, reason
        from marts.fct_recommendations
        left join (select study_id, model_id, params_b from marts.dim_base_models) as models
            using (study_id, model_id)
        where study_id = $study_id
        order by {objective_order}, size_limit_b nulls last, rank nulls last, model_id
        """,
        study_id,
    )


def is_built(connection: duckdb.DuckDBPyConnection, mart: str) -> bool:
    """Whether the mart stands in the database."""
    found = connection.execute(
        "select count(*) from information_schema.tables where table_schema = 'marts' and table_name = $mart",
        {"mart": mart},
    ).fetchone()
    return bool(found and found[0])


def select_if_built(
    connection: duckdb.DuckDBPyConnection, mart: str, query: str, parameters: dict[str, str]
) -> pl.DataFrame:
    """What marts.select gives, or an empty frame without columns where the mart is not built."""
    return marts.select(connection, mart, query, parameters) if is_built(connection, mart) else pl.DataFrame()


def _select(connection: duckdb.DuckDBPyConnection, mart: str, query: str, study_id: str) -> pl.DataFrame:
    text = query.format(
        objective_order=f"{marts.OBJECTIVE_ORDER}, objective",
        protocol_order="list_position(['paper_in_sample', 'paper_10_fold', 'leave_publisher_out'], protocol)",
    )
    parameters = {"study_id": study_id} | ({"target": TARGET} if "$target" in text else {})
    return select_if_built(connection, mart, text, parameters)
