"""The training job killed with SIGKILL at random moments, again and again until it ends."""

from __future__ import annotations

import random
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.forked import Launcher
from tests.support.reward_studies import arguments, results


@dataclass(frozen=True)
class Killed:
    """What an undisturbed search leaves, and what searches leave that were killed `n_kills` times in all."""

    undisturbed: dict[str, Any]
    disturbed: list[dict[str, Any]]
    n_kills: int


class SearchLauncher(Launcher):
    """Starts the training job in forked children, one at a time."""

    def __init__(self) -> None:
        super().__init__("models_train.jobs.train_reward_model")

    def run(self, study: Path, home: Path, objective: str, seconds: float | None) -> dict[str, float]:
        """Run the job, and kill it after a time. status: as `os.wait` gives it. seconds: that it took."""
        return self.call(arguments(study, home, objective), seconds)

    def run_with_kills(
        self, study: Path, folder: Path, objective: str, n_kills: int, random_source: random.Random
    ) -> Killed:
        """Search undisturbed, then again with kills, in as many homes as it takes; each search is finished."""
        whole = self.run(study, folder / "undisturbed", objective, None)["seconds"]
        disturbed: list[dict[str, Any]] = []
        done = 0
        while done < n_kills:
            home = folder / f"home-{len(disturbed)}"
            while self._is_killed(study, home, objective, random_source.uniform(0, whole) if done < n_kills else None):
                done += 1
            disturbed.append(results(home))
        return Killed(results(folder / "undisturbed"), disturbed, done)

    def _is_killed(self, study: Path, home: Path, objective: str, seconds: float | None) -> bool:
        return self.run(study, home, objective, seconds)["status"] == signal.SIGKILL
