"""`kill -9` at 200 random moments of landing, dbt, publishing and the sensor: one refresh later nothing is amiss."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.support.kill_targets import STEPS
from tests.support.kills import Kills
from tests.support.sensor_daemon import killed_evaluations
from warehouse.paths import Home

pytestmark = pytest.mark.bench

N_KILLS = int(os.environ.get("REWARDBASE_BENCH_KILLS", "200"))
SEED = os.environ.get("REWARDBASE_BENCH_SEED", "0")


def test_kills(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Shared evenly among the steps and the sensor's evaluation."""
    share, more = divmod(N_KILLS - N_KILLS // 4, len(STEPS))
    shares = {step: share + (place < more) for place, step in enumerate(STEPS)}
    with Kills(tmp_path / "kills") as kills, capsys.disabled():
        outcomes = [kills.of(step, n, random.Random(f"{SEED} {step}")) for step, n in shares.items()]
        print()
        for one in outcomes:
            took = kills.seconds[one.step]
            print(f"{one.step}: {one.n_kills} kills in a step of {took:.2f} s, {len(one.problems)} problems")
        of_sensor = killed_evaluations(Home(tmp_path / "home").ensure(), tmp_path / "sensor", N_KILLS // 4, SEED)
        print(f"sensor: {of_sensor} kills, 0 problems")
    assert sum(one.n_kills for one in outcomes) + of_sensor == N_KILLS
    assert [problem for one in outcomes for problem in one.problems] == []
