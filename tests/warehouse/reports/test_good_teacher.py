"""The section on measured teachers: there only with responses, with intervals, and without ranks that do not hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest

from models_train.teachers import tables
from models_train.teachers.arrays import Compared, Pool
from models_train.teachers.ensembles import Source
from tests.support import marts_database
from tests.support.marts_database import HOSTILE
from warehouse.reports import topics
from warehouse.reports.elements import Figure, Section
from warehouse.reports.export import panel_specs
from warehouse.reports.tables import Table
from warehouse.reports.topics import good_teacher

NAMES = ["gold", "good", "good/s1", "inaccurate", "noise"]


def pool(policy_id: str, n_prompts: int, study_id: str = "published") -> Pool:
    rng = np.random.default_rng(0)
    gold = rng.normal(size=(n_prompts, 16))
    noise = {name: rng.normal(size=gold.shape) for name in NAMES}
    good = 1.5 * gold + 0.4 * noise["good"]
    rewards = [gold, good, good + 0.05 * noise["good/s1"], 0.5 * gold + noise["inaccurate"], noise["noise"]]
    return Pool(study_id, policy_id, "prompts", NAMES, np.array(rewards), np.ones(gold.shape, bool), np.abs(100 * gold))


def frames() -> dict[str, pl.DataFrame]:
    """The marts of a policy of 60 prompts and of one of 5."""
    sources = [Source(name, "base", "bradley_terry", seed) for seed, name in enumerate(("good", "good/s1"))]
    settings = tables.Settings({}, {"published": [{"over": "seeds"}]}, {"published": sources})
    found = {}
    makers: list[tuple[str, tables.Schema, Callable[[Compared], list[tables.Row]]]] = [
        ("fct_teacher_properties", tables.PROPERTIES, lambda one: tables.teacher_properties(one, 200)),
        ("fct_best_of_n", tables.BEST_OF_N, lambda one: tables.best_of_n(one, 200, settings)),
        ("fct_overoptimisation", tables.OVEROPTIMISATION, lambda one: tables.overoptimisation(one, 200)),
        ("fct_ensembles", tables.ENSEMBLES, lambda one: tables.ensemble_rows(one, 200, settings)),
        ("fct_reward_uncertainty", tables.UNCERTAINTY, lambda one: tables.reward_uncertainty(one, 200, settings)),
    ]
    for name, schema, make in makers:
        rows = [row for one in POLICIES for row in make(one.compared("gold", None))]
        found[name] = pl.DataFrame(rows, schema=pl.Schema(schema)).fill_nan(None)
    own = found["fct_teacher_properties"]
    found["fct_teacher_properties"] = own.with_columns(
        pl.lit("sampled").alias("policy_kind"),
        pl.lit(80.0).alias("rewardbench_score"),
        pl.lit(None, pl.Float64).alias("off_policy_accuracy"),
    )
    return found


POLICIES = (pool("policy", 60), pool("small", 5))


@pytest.fixture(scope="module")
def marts() -> dict[str, pl.DataFrame]:
    return frames()


@pytest.fixture
def connection(tmp_path: Path, marts: dict[str, pl.DataFrame]) -> Iterator[duckdb.DuckDBPyConnection]:
    path = marts_database.write_marts(tmp_path / "snapshot.duckdb", [marts_database.small_study()])
    with duckdb.connect(str(path)) as opened:
        for name, frame in marts.items():
            opened.register("frame", frame.to_arrow())
            opened.execute(f"create table marts.{name} as select * from frame")
            opened.unregister("frame")
        yield opened


def found(connection: duckdb.DuckDBPyConnection) -> Section:
    section = good_teacher.section(marts_database.study_of(connection))
    assert section is not None
    return section


def test_the_section_is_there_only_with_responses(connection: duckdb.DuckDBPyConnection) -> None:
    study = marts_database.study_of(connection)
    assert "good-teacher" in [section.key for section in topics.sections(study)]
    connection.execute("delete from marts.fct_teacher_properties")
    assert good_teacher.section(study) is None
    connection.execute("drop table marts.fct_teacher_properties")
    connection.execute("drop table marts.fct_best_of_n")
    assert good_teacher.section(study) is None


def test_reward_models_that_cannot_be_told_apart_are_not_ranked(connection: duckdb.DuckDBPyConnection) -> None:
    _, _, best, small = found(connection).paragraphs
    assert best.startswith("policy, prompts, gold: gold: choosing the best of 16 by good")
    assert "2 others clearly behind; not told apart from it: good" in best and "of what the gold itself would" in best
    assert small == "small, prompts, gold: gold: 5 prompts are too few to compare reward models on."


def test_each_policy_has_a_table_with_intervals(connection: duckdb.DuckDBPyConnection) -> None:
    table, few, *_ = [item for item in found(connection).items if isinstance(item, Table)]
    assert "60 prompts with 960 responses; 0 prompts are left out" in table.caption
    assert "fewer than twice as many responses" in table.caption
    rows = {row[0].text: row for row in table.cells}
    assert next(iter(rows)) == "gold: gold" and list(rows)[-1] == "noise"
    headings = [column.heading for column in table.columns]
    accuracy = rows["good"][headings.index("Accuracy")]
    assert float(accuracy.text) > 0.85 and " to " in accuracy.note
    assert rows["gold: gold"][headings.index("Accuracy")].text == "1.00"
    gain = rows["good"][headings.index("Gain, best of 16")]
    assert gain.text.startswith("+1.") and " to " in gain.note
    assert few.cells[0][headings.index("Gain, best of 16")].note == ""
    assert few.cells[0][-1].text == "Fewer than 8 prompts: no interval."


def test_curves_have_gold_and_own_reward_of_every_reward(connection: duckdb.DuckDBPyConnection) -> None:
    curves, ensembles = [item for item in found(connection).items if isinstance(item, Figure)]
    (spec, _) = panel_specs(curves)
    (rows,) = [one for one in spec["datasets"].values() if "distance" in one[0]]
    assert {(row["kind"], row["side"]) for row in rows} == {
        ("oracle", "gold"), ("best", "gold"), ("best", "own reward"), ("other", "gold"), ("other", "own reward"),
    }  # fmt: skip
    ends = {(row["reward_id"], row["side"]): row["gain"] for row in rows if row["n"] == 16}
    assert ends["noise", "own reward"] > 1.5 and abs(ends["noise", "gold"]) < 0.3
    assert sorted({row["n"] for row in rows}) == [1, 2, 4, 8, 16]
    assert [panel.title for panel in ensembles.panels][:2] == [
        "policy, prompts, gold: gold: minus their mean member",
        "policy, prompts, gold: gold: minus the member chosen on other prompts",
    ]


def test_the_sentence_on_variance_has_n_and_interval(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(
        """
        create or replace table marts.fct_teacher_predictors as
        select 'published' as study_id, 'own' as basis, 'reward_variance' as predictor, 'best_of_n_gain' as target, *
        from (values ('policy', 6, 0.6, -0.2, 0.9), ('other', 12, 0.8, 0.5, 0.9), ('within', 9, 0.7, null, null))
            as t (policy, n, spearman, spearman_low, spearman_high)
        """
    )
    said = found(connection).paragraphs[4:]
    assert said == (
        "other: reward variance predicts the gold gain of best of n here, rank correlation +0.80, n = 12 reward "
        "models, 95 % interval +0.50 to +0.90.",
        "policy: reward variance does not clearly predict the gold gain of best of n here, rank correlation +0.60, n = "
        "6 reward models, 95 % interval −0.20 to +0.90.",
    )


def test_hostile_names_stay_text(connection: duckdb.DuckDBPyConnection) -> None:
    for table in ("fct_teacher_properties", "fct_best_of_n", "fct_overoptimisation", "fct_reward_uncertainty"):
        connection.execute(f"update marts.{table} set reward_id = ? where reward_id = 'good'", [HOSTILE])
    connection.execute("update marts.fct_ensembles set ensemble_id = ?", [HOSTILE])
    section = found(connection)
    assert any(HOSTILE in text for text in section.paragraphs)
    for figure in section.figures:
        for panel in figure.panels:
            assert panel.chart.to_dict()
