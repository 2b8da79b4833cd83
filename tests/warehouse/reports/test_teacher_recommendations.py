"""The sections of advice on teachers: own correlations beside published ones, recommendations, regrets, partners."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import duckdb
import polars as pl
import pytest

from models_train.teachers.recommendation import regrets
from tests.support import marts_database
from tests.support.marts_database import HOSTILE
from tests.support.teacher_frames import TRUTH, gains, own_statistics, partners_mart, recommendations_mart, row, tables
from tests.warehouse.reports.test_teachers import teacher_rows
from warehouse.reports import topics
from warehouse.reports.tables import Table
from warehouse.reports.topics import teacher_recommendations, teachers


@cache
def marts() -> dict[str, pl.DataFrame]:
    """Of the study `published`: p-llama and q-llama with gains, r-llama with best of n; `other` has published rows."""
    own, comparisons = own_statistics("published")
    made = tables(
        gains("p-llama")
        + gains("q-llama", shift=0.1, error=0.3)
        + [row("best_of_n", base, value, "r-llama", 0.02) for base, value in TRUTH.items()]
    )
    return {
        "fct_teacher_predictors": pl.concat([own, teacher_rows()]),
        "fct_teacher_predictor_comparisons": comparisons,
        "fct_teacher_recommendations": recommendations_mart(made),
        "fct_teacher_regrets": regrets(made),
        "fct_ensemble_partners": partners_mart(),
    }


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    path = marts_database.write_marts(tmp_path / "snapshot.duckdb", [marts_database.small_study()])
    with duckdb.connect(str(path)) as opened:
        for name, frame in marts().items():
            own = frame.with_columns(pl.col("study_id").replace("s", "published"))
            opened.register("found", own.to_arrow())
            opened.execute(f"create table marts.{name} as from found")
            opened.unregister("found")
        yield opened


def test_own_correlations_carry_n_and_interval_beside_published_ones(connection: duckdb.DuckDBPyConnection) -> None:
    section = teachers.section(marts_database.study_of(connection))
    assert section is not None and section.title == "Does anything predict what a reward model teaches?"
    (said,) = section.paragraphs
    assert said.startswith("Rank correlations measured here, with 95 % intervals over base models. Gold gain, RLOO, ")
    assert "on-policy accuracy +0.9" in said and "n = 10 reward models" in said
    assert "on-policy accuracy and RewardBench score are" in said and "established (q below 0.05)" in said
    figure = section.figures[0]
    assert [panel.title for panel in figure.panels] == [
        "Gold gain, RLOO, gold gold",
        "Gold gain of best of n, gold gold",
    ]
    drawn = str(figure.panels[0].chart.to_dict())
    assert "spearman_low" in drawn and "RewardBench, Chat Hard" in drawn and "Base model: mmlu" in drawn
    assert "-1.0" in drawn, "the published correlation of variance with the gold gain"
    compared = next(
        item for item in section.items if isinstance(item, Table) and item.title.startswith("Does a predictor")
    )
    assert {one["reference"] for one in compared.rows} == {"on_policy_accuracy", "rewardbench"}
    assert all(cell.text for cells in compared.cells for cell in cells)


def test_the_published_study_keeps_its_title_and_figures(connection: duckdb.DuckDBPyConnection) -> None:
    section = teachers.section(marts_database.study_of(connection, "other"))
    assert section is not None and section.title == "What is published about teachers"
    assert [figure.name for figure in section.figures] == ["other_teachers_within", "other_teachers_printed"]


def test_recommendations_name_base_evidence_group_and_abstentions(connection: duckdb.DuckDBPyConnection) -> None:
    section = teacher_recommendations.section(marts_database.study_of(connection))
    assert section is not None
    answers, losses, partners = section.paragraphs
    assert "have a recommendation, and in " in answers and answers.endswith("the table says why.")
    assert "What is lost, on average" in losses and "measured on policies of the same family" in losses
    assert partners == (
        "A second base model beside another seed of the first, in 1 case with both: the best partner of equal size "
        "shares fewer errors than the other seed in 1, more in 0, and in 0 they cannot be told apart."
    )
    chosen, regret, second = section.items
    assert isinstance(chosen, Table) and isinstance(regret, Table) and isinstance(second, Table)
    by = {(one["policy_id"], one["use"]): cells for one, cells in zip(chosen.rows, chosen.cells, strict=True)}
    columns = {column.heading: place for place, column in enumerate(chosen.columns)}
    clear = by["p-llama", "rl"]
    assert (
        clear[columns["Base model"]].text == "llama-1"
        and clear[columns["Base model"]].note == "1 B, the policy's family"
    )
    assert clear[columns["Expected"]].text == "0.50" and clear[columns["Expected"]].note == "0.48 to 0.52"
    assert clear[columns["Evidence"]].text == "measured on the policy"
    level = by["q-llama", "rl"]
    assert "Not told apart: llama-2, qwen-1" in level[columns["Why"]].text
    assert by["lonely", "rl"][columns["Base model"]].text == "–"
    assert "no reward model was measured on lonely" in by["lonely", "rl"][columns["Why"]].text
    assert "1 level with it" in str(second.cells)


def test_a_study_without_policies_has_no_such_section(connection: duckdb.DuckDBPyConnection) -> None:
    for name in ("fct_teacher_recommendations", "fct_ensemble_partners", "fct_teacher_regrets"):
        connection.execute(f"delete from marts.{name}")
    study = marts_database.study_of(connection)
    assert teacher_recommendations.section(study) is None
    for name in marts():
        connection.execute(f"drop table marts.{name}")
    assert teacher_recommendations.section(study) is None and teachers.section(study) is None
    assert "teacher-recommendations" not in {section.key for section in topics.sections(study)}


def test_hostile_names_break_nothing(connection: duckdb.DuckDBPyConnection) -> None:
    for table, column in (
        ("fct_teacher_predictors", "gold"), ("fct_teacher_predictors", "predictor"),
        ("fct_teacher_recommendations", "use"), ("fct_teacher_recommendations", "evidence"),
        ("fct_teacher_regrets", "use"), ("fct_ensemble_partners", "base_model"),
    ):  # fmt: skip
        connection.execute(f"update marts.{table} set {column} = ? where study_id = 'published'", [HOSTILE])
    study = marts_database.study_of(connection)
    for section in (teachers.section(study), teacher_recommendations.section(study)):
        assert section is not None and section.items
        for figure in section.figures:
            for panel in figure.panels:
                assert panel.chart.to_dict()
