"""The report's section on races, and the terminal's: the answer, the picture, who was dropped and why."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import duckdb
import pytest
import vl_convert
from rich.console import Console

from models_train.errors import UserError
from tests.support.marts_database import HOSTILE, study_of
from tests.support.race_database import CURVES, REASON, RUNGS, write_race_marts
from warehouse.cli.answer import print_answer
from warehouse.cli.race import print_races
from warehouse.reports import page
from warehouse.reports.elements import Figure
from warehouse.reports.tables import Table
from warehouse.reports.topics import answer, race

CREATED = datetime(2025, 5, 16, 12, 30, tzinfo=UTC)


@pytest.fixture
def raced(builder: ModuleType, tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    path = builder.write_marts(tmp_path / "w.duckdb", [builder.small_study("lab", per_group=3)])
    with duckdb.connect(str(path)) as connection:
        write_race_marts(connection, "lab")
        yield connection


def test_a_study_without_a_race_has_no_section(ordinary: duckdb.DuckDBPyConnection) -> None:
    assert race.section(study_of(ordinary)) is None


def test_the_answer_is_a_sentence_with_what_it_cost(raced: duckdb.DuckDBPyConnection) -> None:
    section = race.section(study_of(raced, "lab"))
    assert section is not None
    first, second = section.paragraphs
    assert first == "Bradley-Terry, decided on mine: one-8B is the base to train: the best with probability 68 %."
    assert second == (
        "The race took 24 looks at 5 base models, 42\u00a0M tokens and 18.5 device hours of a budget of 20h. Training "
        "all of them to the end at every rate takes 210\u00a0M tokens and 95 device hours, so the race took 20\u00a0% "
        "of that."
    )


def test_the_picture_has_every_curve_and_a_cross_where_one_was_dropped(raced: duckdb.DuckDBPyConnection) -> None:
    section = race.section(study_of(raced, "lab"))
    assert section is not None
    (figure,) = section.figures
    spec = figure.panels[0].chart.to_dict()
    (rows,) = spec["datasets"].values()
    assert {(row["model_id"], row["accuracy"]) for row in rows} == {
        (name, accuracy) for name, curve in CURVES.items() for accuracy in curve
    }
    crosses = [row for row in rows if row["is_end"] and row["decision"] == "drop"]
    assert {(row["model_id"], row["n_trained_tokens"]) for row in crosses} == {
        ("three-3B", 900 * RUNGS[3]),
        ("four-2B", 900 * RUNGS[2]),
        ("five-1B", 900 * RUNGS[1]),
    }
    assert {row["model_id"] for row in rows if row["is_winner"]} == {"one-8B"}
    svg = vl_convert.vegalite_to_svg(spec)
    assert all(f">{name}</text>" in svg for name in CURVES)
    assert REASON in figure.panels[0].label


def test_the_table_has_the_answer_first_and_says_why_others_were_dropped(raced: duckdb.DuckDBPyConnection) -> None:
    section = race.section(study_of(raced, "lab"))
    assert section is not None
    (table,) = (item for item in section.items if isinstance(item, Table))
    shown = [[cell.text for cell in row[:2]] for row in table.cells]
    assert shown == [
        ["one-8B", "the answer"],
        ["two-7B", "not told apart"],
        ["three-3B", "dropped"],
        ["four-2B", "dropped"],
        ["five-1B", "dropped"],
    ]
    assert table.cells[2][-1].text == f"{REASON}."


def test_peers_are_listed_where_the_census_is_known(builder: ModuleType, tmp_path: Path) -> None:
    path = builder.write_marts(tmp_path / "w.duckdb", [builder.small_study("lab", per_group=3)])
    with duckdb.connect(str(path)) as connection:
        write_race_marts(connection, "lab", with_census=True)
        section = race.section(study_of(connection, "lab"))
    assert section is not None
    assert section.paragraphs[1].endswith("two-7B is best, 0.3 points above the answer.")
    table = [item for item in section.items if isinstance(item, Table)][1]
    assert [(row[0].text, row[2].text) for row in table.cells] == [
        ("the race", "0.3"),
        ("training all to the end", "0.0"),
        ("the largest", "0.3"),
    ]


def test_a_study_of_a_race_alone_is_answered_by_it(
    empty: duckdb.DuckDBPyConnection, capsys: pytest.CaptureFixture[str]
) -> None:
    write_race_marts(empty, "published")
    found = answer.section(study_of(empty))
    assert found.headlines == (("race, Bradley-Terry", "one-8B", "best with probability 68\u00a0%"),)
    assert "one-8B is the base to train" in found.paragraphs[0]
    print_answer(empty, Console(highlight=False, width=200))
    assert "one-8B is the base to train" in capsys.readouterr().out


def test_names_are_text_on_the_page(builder: ModuleType, tmp_path: Path) -> None:
    path = builder.write_marts(tmp_path / "w.duckdb", [builder.small_study("lab", per_group=3)])
    with duckdb.connect(str(path)) as connection:
        write_race_marts(connection, "lab", suffix=HOSTILE, with_census=True)
        text = page.compose(connection, "snapshot", CREATED).text
    assert "<script>alert(1)" not in text and "<img src=x" not in text
    assert "The race: which base model to train" in text


def test_the_terminal_says_who_how_sure_and_why(
    raced: duckdb.DuckDBPyConnection, capsys: pytest.CaptureFixture[str]
) -> None:
    print_races(raced, Console(highlight=False, width=200), "lab")
    said = " ".join(capsys.readouterr().out.split())
    assert "one-8B is the base to train: the best with probability 68 %." in said
    assert "two-7B: not told apart, 16,000 examples" in said
    assert f"three-3B: dropped, 8,000 examples {REASON}. Lead over one-8B: −4.0 points (−7.0 to −3.1)." in said
    with pytest.raises(UserError, match=r"lap: no study of this name is published; did you mean 'lab'"):
        print_races(raced, Console(), "lap")
    with pytest.raises(UserError, match=r"lab: no race of this study is published; run `make pick STUDY=lab`"):
        print_races(raced, Console(), "lab", "regression")


def test_a_figure_without_looks_says_so(raced: duckdb.DuckDBPyConnection) -> None:
    raced.execute("update marts.fct_race_rungs set accuracy = null, is_best_rate = false")
    section = race.section(study_of(raced, "lab"))
    assert section is not None
    figure = next(item for item in section.items if isinstance(item, Figure))
    assert (figure.panels, figure.empty) == ((), "No base model could be looked at.")
