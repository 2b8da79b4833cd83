"""The section on trained policies: there only with runs, with intervals, without ranks, and with words on collapse."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pytest

from models_train.teachers.gains import policy_gains as gains_of
from tests.support import marts_database
from tests.support.marts_database import HOSTILE
from warehouse.reports import topics
from warehouse.reports.elements import Figure, Section
from warehouse.reports.export import panel_specs
from warehouse.reports.tables import Table
from warehouse.reports.topics import policy_gains

STEPS = (0, 10, 20, 40)
TEACHERS = {"good": (0.8, 0.9), "hacked": (-0.6, 2.0), "idle": (0.0, 0.05), HOSTILE: (0.0, 0.3)}
"""Gain of the gold and of the teacher at the end, in standard deviations."""


def cells() -> pl.DataFrame:
    """Rows of int_policy_run_prompts: two seeds, 30 prompts."""
    rng, rows = np.random.default_rng(1), []
    before = rng.normal(size=30)
    for reward_id, (gold, proxy) in TEACHERS.items():
        for seed in (0, 1):
            for step in STEPS:
                share = step / STEPS[-1]
                for prompt in range(30):
                    noise = rng.normal(scale=0.2, size=2) * (step > 0)
                    length = 20 * (1 - 0.7 * share) if reward_id == "hacked" else 20.0
                    rows.append({
                        "study_id": "published", "policy_run_id": f"{reward_id}{seed}", "policy_id": "policy",
                        "prompt_set": "prompts", "reward_id": reward_id, "method": "rloo", "gold_id": "gold",
                        "seed": seed, "step": step, "share_done": share, "prompt_id": f"{prompt:02}",
                        "gold": before[prompt] + gold * share + noise[0], "kl": 3.0 * share, "length": length,
                        "proxy": before[prompt] + proxy * share + noise[1], "share_rewarded": 1.0,
                    })  # fmt: skip
    return pl.DataFrame(rows)


@pytest.fixture(scope="module")
def gains() -> pl.DataFrame:
    return gains_of(cells(), 200).with_columns(
        length_before=pl.lit(20.0),
        share_finished_before=pl.lit(0.95),
        share_finished=pl.when(pl.col("reward_id") == "hacked").then(0.4).otherwise(0.95),
    )


@pytest.fixture
def connection(tmp_path: Path, gains: pl.DataFrame) -> Iterator[duckdb.DuckDBPyConnection]:
    path = marts_database.write_marts(tmp_path / "snapshot.duckdb", [marts_database.small_study()])
    failed = {"reward_id": "broken", "status": "failed: no response of step 1 has a reward", "scope": "run", "seed": 3}
    broken = pl.DataFrame([failed | {"study_id": "published", "policy_id": "policy", "method": "grpo"}])
    with duckdb.connect(str(path)) as opened:
        ends = pl.concat([gains.filter(share_done=1), broken], how="diagonal_relaxed")
        for name, frame in (("fct_policy_gain_curves", gains), ("fct_policy_gains", ends)):
            opened.register("frame", frame.to_arrow())
            opened.execute(f"create table marts.{name} as select * from frame")
            opened.unregister("frame")
        yield opened


def found(connection: duckdb.DuckDBPyConnection) -> Section:
    section = policy_gains.section(marts_database.study_of(connection))
    assert section is not None
    return section


def test_the_section_is_there_only_with_runs(connection: duckdb.DuckDBPyConnection) -> None:
    study = marts_database.study_of(connection)
    assert "policy-gains" in [section.key for section in topics.sections(study)]
    for name in ("fct_policy_gain_curves", "fct_policy_gains"):
        connection.execute(f"delete from marts.{name}")
    assert policy_gains.section(study) is None
    for name in ("fct_policy_gain_curves", "fct_policy_gains"):
        connection.execute(f"drop table marts.{name}")
    assert policy_gains.section(study) is None


def test_rises_falls_and_what_is_open_are_said_without_a_rank(connection: duckdb.DuckDBPyConnection) -> None:
    _, clear, changed, failed = found(connection).paragraphs
    assert clear.startswith("policy, prompts, gold: gold, RLOO: the gold rises by good (+0.79, +0.7")
    assert "; it falls by hacked (−0.6" in clear and clear.endswith("neither is clear for 2 teachers.")
    assert changed.startswith("Look at the responses before trusting the gains of policy by hacked: length")
    assert failed == "policy by broken, GRPO, seed 3: failed: no response of step 1 has a reward."


def test_the_table_has_intervals_and_words_on_what_changed(connection: duckdb.DuckDBPyConnection) -> None:
    (table,) = [item for item in found(connection).items if isinstance(item, Table)]
    headings = [column.heading for column in table.columns]
    rows = {row[0].text: dict(zip(headings, row, strict=True)) for row in table.cells}
    assert set(rows) == set(TEACHERS)
    assert rows["good"]["Gold gain"].text.startswith("+0.") and " to " in rows["good"]["Gold gain"].note
    assert rows["hacked"]["Change"].text == "70\u00a0% shorter; 40\u00a0% finished, 95\u00a0% before."
    assert rows["good"]["Change"].text == "–" and rows["hacked"]["Finished"].text == "95\u00a0% → 40\u00a0%"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"length_change": 5.0, "length_before": 20.0}, "25\u00a0% longer"),
        ({"length_change": -4.9, "length_before": 20.0}, ""),
        ({"share_finished": 0.3, "share_finished_before": 0.4}, "30\u00a0% finished, 40\u00a0% before"),
        ({"share_finished": 0.9, "share_finished_before": 0.4}, ""),
        ({}, ""),
    ],
)
def test_words_on_what_changed(row: dict[str, Any], said: str) -> None:
    unknown = dict.fromkeys(("length_change", "length_before", "share_finished", "share_finished_before"))
    assert policy_gains.change(unknown | row) == said


def test_every_teacher_has_a_curve_from_the_initial_policy_on(connection: duckdb.DuckDBPyConnection) -> None:
    (curves,) = [item for item in found(connection).items if isinstance(item, Figure)]
    assert len(curves.panels) == len(TEACHERS)
    specs = panel_specs(curves)
    domains = {str(spec["layer"][2]["encoding"]["y"]["scale"]["domain"]) for spec in specs}
    assert len(domains) == 1, "one scale for all teachers of a policy"
    values = [row for data in specs[0]["datasets"].values() for row in data if "side" in row]
    assert {(row["side"], row["gain"]) for row in values if row["step"] == 0} == {("gold", 0.0), ("teacher", 0.0)}
    assert sum(row["low"] is not None for row in values) == 2 * (len(STEPS) - 1)
