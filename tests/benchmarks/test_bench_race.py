"""Races over the census of the lab, made curves with known truth, and published accuracies: figures of RESULTS.md.

Run by `make bench`. The census is that of `race_census.py`; without its file in REWARDBASE_HOME that part is left out.
"""

from __future__ import annotations

import os
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from models_train.race.panels import RACE, calibration, panel_rows, race_panels, summary
from models_train.race.published import published_census
from models_train.race.replay import Census
from models_train.race.rules import Candidate
from models_train.race.simulation import World, simulated
from tests.benchmarks.race_census import census_file, load_census
from tests.models_train.race.test_false_drops import dropped_in_lockstep

pytestmark = pytest.mark.bench

SEEDS = Path(__file__).resolve().parents[2] / "dbt" / "seeds"
SIZE, SHARE = 8, 0.2
N_PANELS = 200
ROWS = Path(os.environ.get("REWARDBASE_HOME", "/tmp")) / "race"


def shown(rows: pl.DataFrame, title: str) -> None:
    """The figures of a set of panels."""
    with pl.Config(tbl_rows=40, tbl_cols=20, tbl_width_chars=240, float_precision=3):
        print(f"\n{title}\n{summary(rows)}")
        race = rows.filter(method=RACE)
        print(calibration(race), calibration(race, "probability_within", "is_within"))
        print(race["reason"].value_counts().rows(), race["n_dropped"].mean(), race["is_best_dropped"].sum())


def lab(*, averaged: bool) -> Census:
    if "REWARDBASE_HOME" not in os.environ or not census_file().exists():
        pytest.skip("no census: REWARDBASE_HOME=... python -m tests.benchmarks.race_census makes it")
    return load_census(averaged=averaged)


@pytest.mark.parametrize("averaged", [False, True], ids=["last weights", "averaged weights"])
@pytest.mark.parametrize("share", [0.1, 0.2, 0.3])
def test_lab(averaged: bool, share: float, capsys: pytest.CaptureFixture[str]) -> None:
    census = lab(averaged=averaged)
    rows = race_panels(census, SIZE, N_PANELS, 0, share)
    rows.drop("members").write_parquet(ROWS / f"panels-{'averaged' if averaged else 'last'}-{share:g}.parquet")
    with capsys.disabled():
        shown(
            rows,
            f"lab, {len(census.candidates)} bases, {'averaged' if averaged else 'last'} weights, budget {share:.0%}",
        )


@pytest.mark.parametrize("objective", ["table_5_bradley_terry", "table_4_regression"])
def test_published(objective: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A simulation: items are drawn by the published accuracies."""
    results = pl.read_csv(SEEDS / f"{objective}.csv").join(pl.read_csv(SEEDS / "table_3_models.csv"), on="model_id")
    benchmark = pl.read_csv(SEEDS / "benchmark_results.csv").filter(
        benchmark="leaderboard_bbh", metric="raw_accuracy_pct"
    )
    values = dict(benchmark.group_by("model_id").agg(pl.col("value").mean()).iter_rows())
    results = results.filter(pl.col("model_id").is_in(list(values)))
    candidates = [
        Candidate(row["model_id"], row["params_b"], benchmark=values[row["model_id"]])
        for row in results.iter_rows(named=True)
    ]
    accuracies = results.select("chat", "chat_hard", "safety", "reasoning").to_numpy()
    rows = race_panels(published_census(candidates, accuracies, 0), SIZE, N_PANELS, 0, SHARE)
    with capsys.disabled():
        shown(rows, f"published, simulated items: {objective}, {len(candidates)} models")


@pytest.mark.parametrize("noise", [0.5, 1.5])
def test_simulated_curves(noise: float, capsys: pytest.CaptureFixture[str]) -> None:
    """Power laws: panels that share nobody."""
    world = World(rates=(1e-3, 5e-3), noise=noise)
    rows = pl.DataFrame(
        [
            asdict(row)
            for seed in range(N_PANELS)
            for row in panel_rows(simulated(world, 1000 + seed)[0], seed, seed, SHARE)
        ],
        infer_schema_length=None,
    )
    with capsys.disabled():
        shown(rows, f"simulated curves, noise of a training {noise} points")


def test_false_drops_under_200_looks(capsys: pytest.CaptureFixture[str]) -> None:
    """Lockstep: all candidates are looked at 200 times, and no early end hides a drop."""
    rungs = tuple(int(rung) for rung in np.unique(np.geomspace(200, 12_800, 200).astype(int)))
    world = World(n_candidates=4, rungs=rungs, n_items=(1500,) * len(rungs), spread=5.0)
    n_panels = n_false = n_drops = 0
    began, seed = time.process_time(), 0
    while n_panels < 40:
        census, truth = simulated(world, seed)
        seed += 1
        second, first = np.sort(truth)[-2:]
        if first - second <= 0.5:
            continue
        dropped = dropped_in_lockstep(census)
        n_panels, n_drops = n_panels + 1, n_drops + len(dropped)
        n_false += int(np.argmax(truth)) in dropped
    with capsys.disabled():
        print(
            f"\n{len(rungs)} looks, {n_panels} panels of 4 whose best leads by more than 0.5 points: {n_drops} drops, "
            f"the best in {n_false} panels; {time.process_time() - began:.0f} s of a core"
        )
    assert n_false <= 0.05 * n_panels
