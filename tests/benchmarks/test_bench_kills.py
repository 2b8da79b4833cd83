"""The training job killed with SIGKILL at 50 random moments: every search ends as an undisturbed one does."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.support.killed_jobs import SearchLauncher
from tests.support.reward_studies import write_study

pytestmark = pytest.mark.bench

N_KILLS = 50


@pytest.mark.parametrize(("objective", "n_kills"), [("bradley_terry", N_KILLS // 2), ("regression", N_KILLS // 2)])
def test_kills(tmp_path: Path, capsys: pytest.CaptureFixture[str], objective: str, n_kills: int) -> None:
    """Parts and reward model equal, but for seconds and memory."""
    study = write_study(tmp_path / "study")
    with SearchLauncher() as launcher:
        killed = launcher.run_with_kills(study, tmp_path, objective, n_kills, random.Random(11))
    different = sum(found != killed.undisturbed for found in killed.disturbed)
    with capsys.disabled():
        print(f"\n{objective}: {killed.n_kills} kills, {len(killed.disturbed)} searches, {different} ended otherwise")
    assert killed.n_kills == n_kills
    assert different == 0
