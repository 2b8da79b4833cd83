"""From training runs in parts to the marts: learning curves, rate search, costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import jinja2
import numpy as np
import pytest

COSTS = Path(__file__).resolve().parents[2] / "dbt" / "models" / "marts" / "fct_run_costs.sql"


def rows(connection: duckdb.DuckDBPyConnection, query: str) -> list[dict[str, Any]]:
    return connection.execute(query).pl().to_dicts()


def test_learning_curves_have_at_most_200_points_a_run(warehouse: duckdb.DuckDBPyConnection) -> None:
    found = rows(warehouse, "select * from marts.fct_learning_curves where model_id = 'alpha' order by step")
    long = [row for row in found if row["training_run"] == "1e-06-s0"]
    assert [row["step"] for row in long] == list(range(5, 1001, 5))
    for row in long:
        steps = range(row["step"] - 4, row["step"] + 1)
        weights = [64 if step % 5 else 32 for step in steps]
        assert row["loss"] == pytest.approx(np.average([1 / step for step in steps], weights=weights))
        assert row["gradient_norm"] == pytest.approx(np.mean([2 + step % 2 for step in steps]))
        assert (row["n_steps"], row["n_tokens"], row["is_selected"]) == (5, 10 * row["step"], True)
    saved = [row for row in long if row["checkpoint_step"] is not None]
    assert {row["checkpoint_step"]: row["validation_accuracy"] for row in saved} == {
        20: pytest.approx(50),
        40: pytest.approx(70),
        60: pytest.approx(70),
    }
    short = [row for row in found if row["training_run"] == "5e-06-s0"]
    assert [row["step"] for row in short] == list(range(1, 31))
    assert [row["loss"] for row in short] == pytest.approx([1 / step for step in range(1, 31)])


def test_the_rate_search_shows_each_run_at_its_best(warehouse: duckdb.DuckDBPyConnection) -> None:
    query = "select * from marts.fct_learning_rate_search where model_id = 'alpha'"
    found = {row["training_run"]: row for row in rows(warehouse, query)}
    best = found["1e-06-s0"]
    assert (best["best_step"], best["best_validation_accuracy"]) == (60, pytest.approx(70))  # the lower loss of two
    assert best["best_validation_standard_error"] == pytest.approx(100 * np.sqrt(0.7 * 0.3 / 100))
    assert (best["is_selected"], found["5e-06-s0"]["is_selected"]) == (True, False)
    failed = found["9e-06-s0"]
    assert (failed["status"], failed["best_step"], failed["best_validation_accuracy"]) == ("failed", None, None)
    assert failed["reason"] == "a reason"
    for row in found.values():
        assert (row["optimism_points"], row["search_n_steps"], row["search_n_steps_full_grid"]) == (3.0, 1030, 3000)


def test_what_an_earlier_search_left_over_is_not_shown(warehouse: duckdb.DuckDBPyConnection) -> None:
    assert rows(warehouse, "select * from marts.fct_learning_curves where model_id = 'beta'") == []
    found = rows(warehouse, "select * from marts.fct_learning_rate_search where model_id = 'beta'")
    assert len(found) == 3
    assert all(row["status"] == "failed" and row["best_step"] is None for row in found)


def priced(warehouse: duckdb.DuckDBPyConnection, price: float | None) -> list[dict[str, Any]]:
    """The mart's rows as its SQL gives them where the variable usd_per_gpu_hour is so."""
    query = jinja2.Template(COSTS.read_text()).render(ref=lambda name: f"staging.{name}", var=lambda name: price)
    return rows(warehouse, f"select * from ({query}) order by job")


def test_what_was_planned_is_beside_what_it_took(warehouse: duckdb.DuckDBPyConnection) -> None:
    documents, training = rows(warehouse, "select * from marts.fct_run_costs order by job")
    planned = [documents[f"planned_device_hours{end}"] for end in ("_low", "", "_high")]
    assert planned == [0.5, 0.625, 0.75] and documents["planned_basis"] == "scaled"
    assert documents["planned_error_percent"] == pytest.approx(25)
    assert training["planned_device_hours"] is training["planned_error_percent"] is training["planned_basis"] is None


def test_costs_are_priced_only_where_a_price_is_set(warehouse: duckdb.DuckDBPyConnection) -> None:
    documents, training = built = rows(warehouse, "select * from marts.fct_run_costs order by job")
    assert (training["gpu_hours"], training["device_hours"], training["peak_memory_gib"]) == (2.0, 2.0, 3.0)
    assert (documents["gpu_hours"], documents["device_hours"], documents["peak_memory_gib"]) == (0.0, 0.5, None)
    assert (training["objective"], documents["objective"]) == ("bradley_terry", None)
    assert training["tokens_per_device_second"] == pytest.approx(1000 / 7200)
    assert training["usd"] is training["usd_per_gpu_hour"] is documents["usd"] is None
    assert priced(warehouse, None) == built
    documents, training = priced(warehouse, 2.5)
    assert (training["usd"], training["usd_per_gpu_hour"], documents["usd"]) == (5.0, 2.5, None)
