"""1,000 publishes under 4 readers that never rest: no reader meets an error or tables of two snapshots."""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

import pytest

from tests.support.publishing import publish_many, warehouse_with_numbers
from tests.support.readers import readers, summary

pytestmark = pytest.mark.bench

N_PUBLISHES = int(os.environ.get("REWARDBASE_BENCH_PUBLISHES", "1000"))
GRACE_SECONDS = 10.0
DAWDLING = 0.2
"""Seconds that one of the readers takes between two tables of a snapshot."""


def test_publishes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Old snapshots are removed all the while; what is left at the end is what the rule says."""
    home = warehouse_with_numbers(tmp_path / "var")
    began = time.monotonic()
    with readers(home, [0, 0, 0, DAWDLING]) as found:
        seconds = publish_many(home, N_PUBLISHES, keep=2, grace_seconds=GRACE_SECONDS)
    took = time.monotonic() - began
    left = len(list(home.snapshots.iterdir()))
    with capsys.disabled():
        print(f"\n{len(seconds)} publishes in {took:.0f} s, {left} snapshots left on disk; readers: {summary(found)}")
        print(f"a publish: median {statistics.median(seconds):.3f} s, longest {max(seconds):.2f} s")
    assert [(one.errors, one.mixed) for one in found] == [([], [])] * 4
    assert left < max(30, N_PUBLISHES / 2)
