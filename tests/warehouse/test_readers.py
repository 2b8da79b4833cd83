"""Readers beside a publisher: whole snapshots only, and each keeps the one that it opened."""

from __future__ import annotations

import os
import time
from pathlib import Path

import duckdb
import pytest

from tests.support.publishing import MARTS, change, publish_many, warehouse_with_numbers
from tests.support.readers import Reading, look, readers
from warehouse.connection import read
from warehouse.paths import Home
from warehouse.publish import prune, publish

pytestmark = pytest.mark.slow


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "var").ensure()
    change(made, MARTS)
    return made


def publish_next(home: Home, number: int, **rule: float) -> Path:
    change(home, f"update marts.fct_results set n = {number} where model_id = 'm2'")
    return publish(home, **rule).path  # type: ignore[arg-type]


def on_disk(home: Home) -> list[Path]:
    return sorted(home.snapshots.iterdir())


def test_thirty_publishes_under_four_readers(tmp_path: Path) -> None:
    """The short form of `make bench`'s 1,000. One reader is slow: snapshots are published between its tables."""
    home = warehouse_with_numbers(tmp_path / "var")
    with readers(home, [0.01, 0.01, 0.02, 0.1]) as found:
        publish_many(home, 30, keep=2, grace_seconds=5)
    assert [(one.errors, one.mixed) for one in found] == [([], [])] * 4
    assert all(one.n >= 2 for one in found)
    assert len({stamp for one in found for stamp in one.snapshots}) > 5


def test_a_reader_can_tell_a_mixed_snapshot(tmp_path: Path) -> None:
    """The check of the readers can fail: it finds a file made of two snapshots."""
    home = warehouse_with_numbers(tmp_path / "var")
    with read(home.current) as connection:
        whole = Reading()
        look(connection, 0, whole)
    assert whole.n == 1 and whole.mixed == []
    old = home.current.resolve()
    publish_many(home, 1, keep=2, grace_seconds=60)
    os.chmod(home.current, 0o644)
    with duckdb.connect(str(home.current)) as connection:
        connection.execute(f"attach '{old}' as old (read_only)")
        connection.execute("create or replace table marts.dim_studies as from old.marts.dim_studies")
        mixed = Reading()
        look(connection, 0, mixed)
    assert len(mixed.mixed) == 1


def test_the_newest_snapshots_stay(home: Home) -> None:
    made = [publish_next(home, number, keep=2, grace_seconds=0) for number in range(5)]
    assert on_disk(home) == made[3:]
    home.current.unlink()
    home.current.symlink_to(f"snapshots/{made[3].name}")
    assert prune(home, 1, 0) == [] and on_disk(home) == made[3:]  # the one that is pointed at stays, however old


def test_a_snapshot_stays_for_a_while_after_its_successor_came(home: Home) -> None:
    """A reader may have looked up the name and not yet opened the file."""
    made = [publish_next(home, number, keep=1) for number in range(3)]
    assert on_disk(home) == made
    time.sleep(0.3)
    made.append(publish_next(home, 3, keep=1, grace_seconds=0.3))
    assert on_disk(home) == made[2:]  # its successor is younger than that


def test_a_reader_keeps_the_snapshot_that_it_opened_though_it_is_removed(home: Home) -> None:
    first = publish_next(home, 0)
    with read(home.current) as connection:
        later = [publish_next(home, number, keep=1, grace_seconds=0) for number in (1, 2)]
        assert on_disk(home) == [later[-1]] and not first.exists()
        assert connection.execute("select count(*) from fct_results").fetchone() == (1001,)
        assert connection.execute("select n from fct_results where model_id = 'm2'").fetchone() == (0,)
