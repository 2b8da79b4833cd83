"""The types of the whole project, checked by mypy with its settings in pyproject.toml."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]


def test_mypy_finds_nothing() -> None:
    """Beside the other tests, and with the cache that `make lint` has, too."""
    done = subprocess.run(
        [sys.executable, "-m", "mypy"], cwd=REPOSITORY, capture_output=True, text=True, timeout=1800, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
