"""The section on checks: there only with rewards with checks; gains with intervals, and what could not be checked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from tests.support import marts_database
from warehouse.reports import topics
from warehouse.reports.elements import Figure, Section
from warehouse.reports.export import panel_specs
from warehouse.reports.tables import Table
from warehouse.reports.topics import checks

ROW: dict[str, Any] = {
    "study_id": "published", "reward_id": "agentic:rm+a+b", "plain_reward_id": "rm", "added": "all", "n_checks": 2,
    "weights": "a 1.0, b 0.5", "is_fitted": False, "fit_benchmark": None, "n_fit_items": None, "optimism_points": None,
    "compared_on": "benchmark", "place": "rewardbench", "benchmark": "rewardbench", "policy_id": None,
    "prompt_set": None, "gold_id": None, "metric": "accuracy", "n_best_of": None, "n": 800, "n_left_out": 0,
    "n_better": 40, "n_worse": 10, "value_plain": 0.7, "value": 0.736, "gain": 0.036, "low": 0.02, "high": 0.055,
    "n_checked": 3200, "n_not_applicable": 0, "n_failed": 0, "mean_check": 0.6, "failures": None, "status": "ok",
}  # fmt: skip
ALONE = {"n_checks": 1, "n_checked": 1600}
ROWS = [
    ROW,
    ROW | ALONE | {"reward_id": "agentic:rm+a+b@a", "added": "a", "weights": "a 1.0", "gain": 0.04},
    ROW | ALONE | {"reward_id": "agentic:rm+a+b@b", "added": "b", "weights": "b 0.5", "gain": -0.001, "low": -0.01},
    ROW
    | {"reward_id": "agentic:fit", "is_fitted": True, "fit_benchmark": "rewardbench", "n_fit_items": 400, "low": -0.01}
    | {"optimism_points": 0.4, "n_failed": 3, "failures": "a, needs punkt_tab: 3"},
    ROW
    | {"compared_on": "policy", "place": "p, q, gold: g", "benchmark": None, "policy_id": "p", "prompt_set": "q"}
    | {"gold_id": "g", "metric": "best_of_n_gold", "n_best_of": 8, "n": 5, "low": None, "high": None}
    | {"status": "fewer than 8 prompts: no interval"},
]


def test_rows_of_one_name_have_that_of_the_reward() -> None:
    frame = pl.DataFrame([ROW, ROW | {"reward_id": "agentic:other"}, ROWS[1]], infer_schema_length=None)
    assert checks.with_names(frame)["row"].to_list() == ["agentic:rm+a+b", "agentic:other", "rm + a"]


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    path = marts_database.write_marts(tmp_path / "snapshot.duckdb", [marts_database.small_study()])
    with duckdb.connect(str(path)) as opened:
        opened.register("frame", pl.DataFrame(ROWS, infer_schema_length=None).to_arrow())
        opened.execute("create or replace table marts.fct_agentic_gains as select * from frame")
        yield opened


def found(connection: duckdb.DuckDBPyConnection) -> Section:
    section = checks.section(marts_database.study_of(connection))
    assert section is not None
    return section


def test_the_section_is_there_only_with_rewards_with_checks(connection: duckdb.DuckDBPyConnection) -> None:
    study = marts_database.study_of(connection)
    assert "checks" in [section.key for section in topics.sections(study)]
    connection.execute("delete from marts.fct_agentic_gains")
    assert checks.section(study) is None
    connection.execute("drop table marts.fct_agentic_gains")
    assert checks.section(study) is None


def test_only_gains_with_an_interval_beside_0_are_called_so(connection: duckdb.DuckDBPyConnection) -> None:
    _, gains, failed = found(connection).paragraphs
    assert gains == (
        "rewardbench: 1 reward higher with checks than without and 1 reward not told apart from the reward alone."
    )
    assert failed == "Not made on rewardbench: a, needs punkt_tab: 3."


def test_each_place_has_a_chart_with_intervals_and_every_row_is_in_the_table(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    items = found(connection).items
    (figure,) = [item for item in items if isinstance(item, Figure)]
    table, fits = [item for item in items if isinstance(item, Table)]
    assert [panel.title for panel in figure.panels] == ["rewardbench: accuracy", "p, q, gold: g: gold of the best of 8"]
    (rows,) = [one for one in panel_specs(figure)[0]["datasets"].values() if len(one) > 1]
    assert [row["row"] for row in rows] == ["rm + all checks", "rm + a", "rm + b", "rm + all checks, weights chosen"]
    headings = [column.heading for column in table.columns]
    first, *_, last = table.cells
    assert (first[headings.index("Gain")].text, first[headings.index("Gain")].note) == ("+0.036", "0.020 to 0.055")
    assert last[headings.index("Gain")].note == "" and last[-1].text == "Fewer than 8 prompts: no interval."
    assert [cell.text for cell in fits.cells[0]] == ["agentic:fit", "rewardbench", "400", "a 1.0, b 0.5", "+0.4"]
