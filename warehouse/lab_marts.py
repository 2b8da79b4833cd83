"""Reading the marts of a lab: one SELECT per input, each returning a Polars frame.

As `warehouse.marts`, but a mart that is not built gives an empty frame without columns, and a study that is no lab
gives an empty one. Correlations lie between -1 and 1, 1 always good; accuracies are in percent.
"""

from __future__ import annotations

import duckdb
import polars as pl

from warehouse import marts
from warehouse.performance_marts import select_if_built

_KINDS = "list_position(['presence_score', 'bits_per_byte', 'min_k', 'min_k_plus_plus', 'log10_parameters'], {column})"
_CHECKS = "list_position(['domain_share', 'mix_distance', 'merge_weights', 'learning_rate'], check_name)"


def truth_checks(connection: duckdb.DuckDBPyConnection, study_id: str) -> pl.DataFrame:
    """One row per check: by check, domain (all first), kinds of score, objective, and the median before the models."""
    return _select(
        connection,
        "fct_lab_truth_checks",
        f"""
        select
            check_name, domain, score_kind, compared_with, objective, model_id, statistic, value, low, high, baseline,
            baseline_name, n, reason
        from marts.fct_lab_truth_checks
        where study_id = $study_id
        order by
            {_CHECKS}, domain <> 'all', domain, {_KINDS.format(column="score_kind")},
            {_KINDS.format(column="compared_with")}, {marts.OBJECTIVE_ORDER}, statistic, baseline_name,
            model_id nulls first
        """,
        study_id,
    )


def mixes(connection: duckdb.DuckDBPyConnection, study_id: str) -> pl.DataFrame:
    """One row per model and domain: the true share, and what the model is; by size, largest first."""
    return _select(
        connection,
        "dim_lab_mixes",
        """
        select model_id, domain, share, pretrained_model_id, pretraining_tokens, parameters_m
        from marts.dim_lab_mixes
        where study_id = $study_id
        order by parameters_m desc, model_id, domain
        """,
        study_id,
    )


def settings(connection: duckdb.DuckDBPyConnection, study_id: str) -> dict[str, float]:
    """How the lab was made, by name of the setting; empty for a study that is no lab."""
    found = _select(
        connection,
        "dim_lab_settings",
        "select setting, value from marts.dim_lab_settings where study_id = $study_id order by setting",
        study_id,
    )
    return dict(found.iter_rows())


def _select(connection: duckdb.DuckDBPyConnection, mart: str, query: str, study_id: str) -> pl.DataFrame:
    return select_if_built(connection, mart, query, {"study_id": study_id})
