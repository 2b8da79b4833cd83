"""Workers that share the shards of a model, undisturbed and killed at random moments: the same scores, once each."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.data_files import REPOSITORY
from tests.support.scoring_studies import (
    ENVIRONMENT,
    arguments,
    costs,
    documents,
    parts,
    put_sample,
    run_job,
    scores,
    scoring_study,
)

pytestmark = pytest.mark.slow

KILLS = 100
SHARDS = 40
Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scoring_study(tmp_path_factory.mktemp("shared"), documents_per_shard=2)


@pytest.fixture(scope="module")
def run(study: Path) -> Iterator[Run]:
    """Runs two workers to the end in a home of its own; kills: how many of them are killed at most."""
    command = [sys.executable, "-m", "tests.support.scoring_workers"]
    environment = ENVIRONMENT | {"PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        assert process.stdin is not None and process.stdout is not None

        def ask(home: Path, kills: int, seed: int = 0) -> dict[str, Any]:
            put_sample(study, home, documents(2 * SHARDS))
            order = {
                "arguments": arguments(study, home),
                "parts": str(home / "parts" / "document_scores" / "demo"),
                "kills": kills,
                "seed": seed,
                "seconds": 0.5,
            }
            process.stdin.write(json.dumps(order) + "\n")  # type: ignore[union-attr]
            answer: dict[str, Any] = json.loads(process.stdout.readline())  # type: ignore[union-attr]
            return answer

        yield ask


@pytest.fixture(scope="module")
def alone(study: Path) -> Path:
    """Home of a job that nothing disturbed."""
    home = study.parent / "alone"
    put_sample(study, home, documents(2 * SHARDS))
    done = run_job(study, home)
    assert done.returncode == 0, done.stderr
    assert f"rows: {2 * SHARDS}\n" in done.stdout
    return home


def test_two_workers_share_the_shards(study: Path, run: Run, alone: Path) -> None:
    home = study.parent / "shared"
    assert run(home, 0) == {"kills": 0, "redone": []}
    assert scores(home).equals(scores(alone))
    assert scores(home)["document_id"].is_unique().all()
    assert len(parts(home)) == SHARDS
    assert costs(home)["n_tokens"] == costs(alone)["n_tokens"]
    by_worker = list((home / "parts" / ".scoring").glob("demo/*/costs/start-*.json"))
    assert len(by_worker) == 2


def test_workers_that_are_killed_lose_nothing_and_do_nothing_twice(study: Path, run: Run, alone: Path) -> None:
    kills, homes = 0, 0
    while kills < KILLS:
        home = study.parent / f"killed-{homes}"
        answer = run(home, KILLS - kills, homes)
        assert "failure" not in answer
        assert answer["redone"] == []
        assert scores(home).equals(scores(alone))
        assert len(parts(home)) == SHARDS
        assert costs(home)["n_tokens"] == costs(alone)["n_tokens"]
        kills, homes = kills + answer["kills"], homes + 1
    assert kills == KILLS
