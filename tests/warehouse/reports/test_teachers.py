"""The sections on teachers and leaderboards: their sentences carry n, p and intervals, and say what does not hold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest

from models_train.selection.teacher_predictors import predictor_statistics, printed_statistics
from tests.support import marts_database
from tests.support.marts_database import HOSTILE
from warehouse.reports import topics
from warehouse.reports.topics import leaderboards, teachers

BOARD = """
    select 'other' as study_id, 'A board' as leaderboard, date '2024-12-01' as snapshot_date, 'all' as top_k, *,
        10 as n_entries, 3.0 as judges, 1.0 as unknown, n / 10 as share, 0.1 as low, 0.6 as high
    from (values ('Llama-3.x', 4.5, 1.0, 0.75), ('Gemma-2', 1.5, 0.0, 0.25), ('judge', 3.0, 0.0, null),
        ('unknown', 1.0, 0.0, null)) as t (family, n, n_by_name, share_of_known)
"""


def teacher_rows() -> pl.DataFrame:
    """Six policies x four reward models: variance goes with the proxy gain in each, and against the gold gain."""
    rng = np.random.default_rng(0)
    cell = {"study_id": "other", "gold": "a gold", "method": "RLOO", "selection": "all", "paper_table": "Table 1"}
    rows = []
    for policy in range(6):
        variance = 0.1 * policy + 0.02 * np.arange(4) + 0.3
        for model in range(4):
            values = {"reward_variance": variance[model], "rewardbench": [90.0, 80.0, 70.0, 60.0][model]}
            gains = {"proxy_gain": variance[model], "gold_gain": 0.1 * policy - 0.02 * model + 1e-4 * rng.normal()}
            rows += [
                cell | {"policy": f"policy {policy}", "reward_model": f"rm {model}"}
                | {"predictor": name, "target": target}
                | {"predictor_value": float(value), "target_value": float(gain)}
                for name, value in values.items()
                for target, gain in gains.items()
            ]  # fmt: skip
    printed = pl.DataFrame(
        [
            {"study_id": "other", "paper_table": f"Table {table}", "predictor": "reward_variance", "n": 6}
            | {"target": "gold_gain", "pearson": pearson, "spearman": spearman}
            for table, pearson, spearman in (("2", 0.834, 0.714), ("4", 0.95, 0.943))
        ]
    )
    return pl.concat([predictor_statistics(pl.DataFrame(rows)), printed_statistics(printed)])


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    studies = [marts_database.small_study(), marts_database.small_study("other", suffix=" b")]
    path = marts_database.write_marts(tmp_path / "snapshot.duckdb", studies)
    with duckdb.connect(str(path)) as opened:
        for table in ("fct_reward_model_results", "fct_size_group_gains", "fct_size_group_winners"):
            opened.execute(f"delete from marts.{table} where study_id = 'other'")
        opened.register("found", teacher_rows().to_arrow())
        opened.execute("create table marts.fct_teacher_predictors as from found")
        opened.execute(f"create table marts.fct_leaderboard_bases as {BOARD}")
        opened.execute(
            """
            create table marts.fct_leaderboard_entries as
            select 'other' as study_id, 'A board' as leaderboard, date '2024-12-01' as snapshot_date, 1 as place,
                'org/a' as entry, 90.5 as score, 'merge' as kind, 'a/b + c/d' as base_model,
                'Llama-3.x + Gemma-2' as base_family, 'card' as base_source
            """
        )
        yield opened


def test_the_sentence_says_proxy_and_not_gold(connection: duckdb.DuckDBPyConnection) -> None:
    section = teachers.section(marts_database.study_of(connection, "other"))
    assert section is not None
    holds, between, printed = section.paragraphs
    assert "reward variance ranks the proxy gain (+1.00, mean rank correlation over 6 policies)" in holds
    assert "and not the gold gain (−1.00); RewardBench score +1.00 with the gold gain" in holds
    assert (
        "Only n = 4 reward models" in holds and "no p below 1/24 is possible, and the smallest here is 0.083" in holds
    )
    assert "the mean variance and the mean gold gain of 6 policies have r = +1.00 [" in between
    assert "24 rows together" in between and "variance says which policy gains more" in between
    assert "significant from 0.886 on; of its 2 rank correlations with the gold gain 1 reach that." in printed
    assert "Of variance, Table 2 prints r = +0.83 [0.07, 0.98]." in printed
    within, prints, table = section.items
    assert [panel.title for panel in within.panels] == ["Proxy gain, RLOO", "Gold gain, RLOO"]
    assert len(prints.panels) == 1 and "Table 2 +0.83 [0.07, 0.98]" in prints.panels[0].label
    assert len(table.rows) == teacher_rows().height


def test_a_leaderboard_is_said_with_its_interval_and_what_is_unknown(connection: duckdb.DuckDBPyConnection) -> None:
    section = leaderboards.section(marts_database.study_of(connection, "other"))
    assert section is not None
    said, figure_one, caution = section.paragraphs
    assert said == (
        "Of the 10 entries of A board (2024-12-01), 4.5 are built on Llama-3.x (45.0 %, 95 % interval 10.0 to 60.0): "
        "75.0 % of the 6 reward models of known base; the entries include 3 judges and 1 of unknown base."
    )
    assert "December 2024" in figure_one and caution.startswith("The base of 1 entry is read from the name")
    figure, table, entries = section.items
    assert [cell.text for cell in entries.cells[0]][1:] == [
        "1", "org/a", "90.5", "merge", "a/b + c/d", "Llama-3.x + Gemma-2", "card",
    ]  # fmt: skip
    assert [row["family_text"] for row in table.rows] == [
        "Llama-3.x", "Gemma-2", "judges (no such base)", "unknown base",
    ]  # fmt: skip
    assert figure.panels[0].title == "A board (2024-12-01): all (n = 10)"


def test_such_a_study_has_its_own_sections_and_no_other(connection: duckdb.DuckDBPyConnection) -> None:
    other = topics.sections(marts_database.study_of(connection, "other"))
    assert [section.key for section in other] == ["teachers", "leaderboards", "sources"]
    keys = [section.key for section in topics.sections(marts_database.study_of(connection))]
    assert keys[0] == "answer" and "teachers" not in keys and "leaderboards" not in keys


def test_hostile_names_and_other_values_break_nothing(connection: duckdb.DuckDBPyConnection) -> None:
    for table, column in (
        ("fct_leaderboard_bases", "family"), ("fct_leaderboard_bases", "leaderboard"),
        ("fct_teacher_predictors", "predictor"), ("fct_teacher_predictors", "target"),
    ):  # fmt: skip
        connection.execute(f"update marts.{table} set {column} = ?", [HOSTILE])
    study = marts_database.study_of(connection, "other")
    for section in (teachers.section(study), leaderboards.section(study)):
        assert section is not None and section.items
        for figure in section.figures:
            for panel in figure.panels:
                assert panel.chart.to_dict()
