"""Marts of critique reward models, built by dbt from made rewards: figures by hand, and by a second computation."""

from __future__ import annotations

import math
import subprocess
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import duckdb
import numpy as np
import pytest

from models_train.parts import write_part
from models_train.study.reward_ids import source_row
from warehouse import landing
from warehouse.connection import write
from warehouse.contracts import TABLES
from warehouse.paths import Home

pytestmark = pytest.mark.slow

N_ITEMS, N_WRITTEN, N_CUT = 12, 4, 1
MARTS = ("fct_critique_gains", "fct_critique_trainings", "fct_critique_examples")
REACH = 1.959963984540054


def reward_of(kind: str, item: int, completion: str, number: int) -> float:
    """A reward to one digit: there are ties."""
    skill = {"none": 0.3, "others": 0.1, "own": 0.6, "true": 2.0}[kind] if completion == "chosen" else 0.0
    seed = [item, len(kind), completion == "chosen", number]
    return round(float(np.random.default_rng(seed).normal(skill, 1)), 1)


def critique_row(kind: str, item: int, completion: str, number: int) -> dict[str, Any]:
    # The last item is cut in all of its critiques of one completion, the first in one.
    is_cut = kind == "own" and completion == "chosen" and (item == N_ITEMS - 1 or (item, number) == (0, 2))
    return {
        "reward_id": "alpha/critique",
        "critiques": kind,
        "benchmark": "pairs",
        "subset": "all",
        "item_id": str(item),
        "completion": completion,
        "critique_no": number,
        "text": f"{kind} {number}",
        "n_tokens": None if kind == "true" else 10 + number,
        "n_tokens_read": None if is_cut else 100 + (0 if kind == "true" else 10 + number),
        "reward": None if is_cut else reward_of(kind, item, completion, number),
        "finish_reason": "given" if kind == "true" else "length" if is_cut else "stop",
        "status": "the critique was cut" if is_cut else "ok",
    }


def training_row(kind: str) -> dict[str, Any]:
    counts = ("n_contradicting", "n_tied", "n_without_score", "n_without_critique")
    return dict.fromkeys(counts, 5) | {
        "model_id": "alpha",
        "critiques": kind,
        "source": "template",
        "n_tuned_on": 60,
        "tuning_loss": 0.5,
        "n_tuning_tokens": 1000,
        "n_written_tokens": 2000,
        "n_pairs": 80,
        "n_kept": 60,
        "learning_rate": 1e-3,
        "validation_accuracy": 0.75,
        "n_validation_pairs": 20,
    }


def build(folder: Path, run_dbt: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    home = Home(folder).ensure()

    def part(table: str, rows: list[dict[str, Any]], run_id: str) -> None:
        write_part(home.parts, TABLES[table], rows, study_id="yours", run_id=run_id)

    items = [
        {"benchmark": "pairs", "subset": "all", "item_id": str(item), "category": None, "n_completions": 2}
        | {"n_correct": 1, "prompt_hash": None, "source": None}
        for item in range(N_ITEMS)
    ]
    part("benchmark_items", items, "items")
    both = (("chosen", 1, True), ("rejected", 2, False))
    completions = [
        {"benchmark": "pairs", "subset": "all", "item_id": str(item), "completion": name, "place": place}
        | {"is_correct": is_right, "style": None, "generator": None, "generator_family": None, "n_bytes": 3}
        for item in range(N_ITEMS)
        for name, place, is_right in both
    ]
    part("item_completions", completions, "items")
    part("reward_sources", [source_row("alpha", "bradley_terry", seed=0)], "plain")
    part("reward_sources", [source_row("alpha", "critique", seed=0)], "critique")
    rewards = [
        {"reward_id": "alpha/bradley_terry", "benchmark": "pairs", "subset": "all", "item_id": str(item)}
        | {"completion": name, "attribute": "reward", "reward": reward_of("none", item, name, 0), "n_tokens": 90}
        | {"is_truncated": False, "status": "ok", "source": None}
        for item in range(N_ITEMS)
        for name, *_ in both
    ]
    part("completion_rewards", rewards, "plain")
    for kind, n_each in (("own", N_WRITTEN), ("others", N_WRITTEN), ("true", 1)):
        rows = [
            critique_row(kind, item, name, number)
            for item in range(N_ITEMS)
            for name, *_ in both
            for number in range(n_each)
        ]
        part("critiques", rows, kind)
        part("critique_trainings", [training_row(kind)], kind)
    with write(home.warehouse) as connection:
        landing.rebuild(connection, home.parts)
    done = run_dbt(home, "build", "--select", *(f"+{mart}" for mart in MARTS))
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def made(
    made_once: Callable[..., Path], run_dbt: Callable[..., subprocess.CompletedProcess[str]]
) -> Iterator[duckdb.DuckDBPyConnection]:
    home = Home(made_once("critiques", lambda folder: build(folder, run_dbt)))
    with duckdb.connect(str(home.warehouse), read_only=True) as connection:
        yield connection


def wins(kind: str, m: int) -> list[float]:
    """Chance of each item that counts, by all pairs of subsets."""
    found = []
    for item in range(N_ITEMS - N_CUT):
        sides = []
        for name in ("chosen", "rejected"):
            if kind == "none":
                sides.append([reward_of(kind, item, name, 0)])
                continue
            n = 1 if kind == "true" else N_WRITTEN
            rows = [critique_row(kind, item, name, number)["reward"] for number in range(n)]
            known = [one for one in rows if one is not None]
            sides.append([fmean(one) for one in combinations(sorted(known), min(m, len(known)))])
        found.append(fmean(one > other for one in sides[0] for other in sides[1]))
    return found


def error(values: list[float]) -> float:
    return 100 * stdev(values) / math.sqrt(len(values))


@pytest.mark.parametrize(
    ("kind", "m"), [("none", 0), ("own", 1), ("own", 4), ("others", 1), ("others", 4), ("true", 1)]
)
def test_figures_equal_a_second_computation(kind: str, m: int, made: duckdb.DuckDBPyConnection) -> None:
    query = "select * from marts.fct_critique_gains where critiques = $kind and n_critiques = $m"
    (row,) = made.execute(query, {"kind": kind, "m": m}).pl().to_dicts()
    own, plain = wins(kind, m), wins("none", 1)
    assert row["accuracy"] == pytest.approx(100 * fmean(own), abs=1e-9)
    assert row["standard_error"] == pytest.approx(error(own), abs=1e-9)
    assert (row["n_items"], row["n_items_left_out"]) == (N_ITEMS - N_CUT, N_CUT)
    if kind == "none":
        assert row["gain_points"] is None and row["placebo_points"] is None and row["tokens_per_answer"] == 90
        return
    gains = [one - other for one, other in zip(own, plain, strict=True)]
    assert row["gain_points"] == pytest.approx(100 * fmean(gains), abs=1e-9)
    assert row["gain_low"] == pytest.approx(100 * fmean(gains) - REACH * error(gains), abs=1e-9)
    if kind == "others":
        assert row["placebo_points"] is None
        return
    beyond = [one - other for one, other in zip(own, wins("others", m), strict=True)]
    assert row["placebo_points"] == pytest.approx(100 * fmean(beyond), abs=1e-9)
    assert row["placebo_high"] == pytest.approx(100 * fmean(beyond) + REACH * error(beyond), abs=1e-9)


def test_the_cost_of_an_answer(made: duckdb.DuckDBPyConnection) -> None:
    tokens = dict(
        made.execute(
            "select critiques || n_critiques, tokens_per_answer from marts.fct_critique_gains order by all"
        ).fetchall()
    )
    assert tokens["true1"] == 100
    # 100 tokens are asked once; a critique is 11.5 tokens on average, and is read with the rest.
    assert tokens["others1"] == pytest.approx(100 + 11.5 + 111.5)
    assert tokens["others4"] == pytest.approx(100 + 4 * (11.5 + 111.5))
    cut = made.execute(
        "select percent_without_reward from marts.fct_critique_gains where critiques = 'own' limit 1"
    ).fetchall()
    assert cut == [(pytest.approx(100 * (N_WRITTEN + 1) / (2 * N_ITEMS * N_WRITTEN)),)]


def test_trainings_and_examples(made: duckdb.DuckDBPyConnection) -> None:
    kept = made.execute(
        "select critiques, share_kept, validation_accuracy from marts.fct_critique_trainings order by 1"
    )
    assert kept.fetchall() == [("others", 0.75, 75.0), ("own", 0.75, 75.0), ("true", 0.75, 75.0)]
    shown = made.execute("select item_id, completion, text from marts.fct_critique_examples").fetchall()
    assert len(shown) == 6 and len({one[0] for one in shown}) == 3 and {one[2] for one in shown} == {"own 0"}
