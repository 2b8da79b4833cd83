"""Inputs of the performance model: marts written to Parquet, one folder per study."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl

from models_train.files import atomic_path
from warehouse.connection import Connection

INPUTS = {
    "features": "select * from marts.fct_regression_features where study_id = $study order by model_id, feature",
    # Only results on the same pairs: others would look like worse or better models.
    "results": "select objective, model_id, chat, chat_hard, safety, reasoning, score, score_standard_error, "
    "score_standard_error_approximate from marts.fct_reward_model_results "
    "where study_id = $study and is_comparable order by objective, model_id",
    "models": "select model_id, publisher, family, params_b from marts.dim_base_models "
    "where study_id = $study and (is_compared or is_candidate) order by model_id",
    "size_groups": "select size_group, params_b_from, params_b_below, default_model_id from raw.size_groups "
    "where study_id = $study order by position",
}


def write_inputs(connection: Connection, folder: Path) -> dict[str, int]:
    """Write `<folder>/<study>/<name>.parquet` for every study and input, and `study.json`; returns rows per study.

    The folder is replaced whole, so a removed study leaves no inputs behind.
    """
    rows = {}
    with atomic_path(folder) as fresh:
        fresh.mkdir()
        for (study,) in connection.execute("select study_id from marts.dim_studies order by study_id").fetchall():
            (fresh / study).mkdir()
            frames = {name: _frame(connection, query, study) for name, query in INPUTS.items()}
            for name, frame in frames.items():
                frame.write_parquet(fresh / study / f"{name}.parquet")
            (fresh / study / "study.json").write_text(json.dumps({"aggregates": _aggregates(connection, study)}))
            rows[study] = sum(frame.height for frame in frames.values())
    return rows


def _frame(connection: Connection, query: str, study: str) -> pl.DataFrame:
    return connection.execute(query, {"study": study}).pl()


def _aggregates(connection: Connection, study: str) -> list[str]:
    """Benchmarks that are averages of others: as features they would count those twice."""
    found = connection.execute(
        "select benchmark from marts.dim_benchmarks where study_id = ? and topic = 'Aggregate' order by benchmark",
        [study],
    ).fetchall()
    return [name for (name,) in found]
