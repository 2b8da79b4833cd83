"""What many tests share: one real run of the whole published study, made once per session."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


def run_rewardbase(home: Path, *arguments: str, project: Path = REPOSITORY) -> subprocess.CompletedProcess[str]:
    """`make run` without the set-up: the command that a person's `make run` starts, in a home of its own."""
    environment = os.environ | {"REWARDBASE_HOME": str(home), "PYTHONPATH": str(project), "COLUMNS": "160"}
    return subprocess.run(
        [sys.executable, "-m", "dagster_project.run", *arguments],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="session")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Home and outcome of a first run."""
    home = tmp_path_factory.mktemp("published") / "home"
    done = run_rewardbase(home)
    assert done.returncode == 0, done.stdout + done.stderr
    return home, done


@pytest.fixture(scope="session")
def home(first_run: tuple[Path, subprocess.CompletedProcess[str]]) -> Path:
    """Home of a finished run. Tests read it; those that run again take a copy."""
    return first_run[0]


@pytest.fixture(scope="session")
def published(home: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Read-only connection to the published snapshot, as an analyst has it."""
    connection = duckdb.connect(str(home / "published" / "current.duckdb"), read_only=True)
    yield connection
    connection.close()


@pytest.fixture(scope="session")
def run() -> object:
    """The function that runs Rewardbase."""
    return run_rewardbase


@pytest.fixture(scope="module")
def project_copy(home: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A copy of the project that a test may spoil, and a copy of the finished home; both up to date."""
    folder = tmp_path_factory.mktemp("copy")
    project = folder / "project"
    project.mkdir()
    for name in ("dagster_project", "dbt", "models_train", "warehouse"):
        shutil.copytree(REPOSITORY / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "pyproject.toml", project)
    copy = folder / "home"
    shutil.copytree(home, copy, symlinks=True)
    return project, copy
