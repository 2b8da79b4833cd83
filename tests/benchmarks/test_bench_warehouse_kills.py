"""`kill -9` at 200 random moments of landing, dbt and publishing: one refresh later all is as if nothing had been."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from kill_targets import STEPS
from kills import Kills

pytestmark = pytest.mark.bench

N_KILLS = int(os.environ.get("REWARDBASE_BENCH_KILLS", "200"))
SEED = os.environ.get("REWARDBASE_BENCH_SEED", "0")


def test_kills(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Shared evenly among the steps."""
    share, more = divmod(N_KILLS, len(STEPS))
    shares = {step: share + (place < more) for place, step in enumerate(STEPS)}
    with Kills(tmp_path / "kills") as kills, capsys.disabled():
        outcomes = [kills.of(step, n, random.Random(f"{SEED} {step}")) for step, n in shares.items()]
        print()
        for one in outcomes:
            took = kills.seconds[one.step]
            print(f"{one.step}: {one.n_kills} kills in a step of {took:.2f} s, {len(one.problems)} problems")
    assert sum(one.n_kills for one in outcomes) == N_KILLS
    assert [problem for one in outcomes for problem in one.problems] == []
