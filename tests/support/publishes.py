"""Many publishes, one after the other, each of new content."""

from __future__ import annotations

import time
from pathlib import Path

from tests.support.published_marts import MARTS, change
from warehouse.paths import Home
from warehouse.publish import publish


def warehouse_with_numbers(root: Path) -> Home:
    """A home whose two marts have a column `n` that `publish_many` writes one number into."""
    home = Home(root).ensure()
    change(home, MARTS + "alter table marts.dim_studies add column n bigint")
    change(home, "update marts.dim_studies set n = -1; update marts.fct_results set n = -1")
    publish(home)
    return home


def publish_many(home: Home, n: int, *, keep: int, grace_seconds: float) -> list[float]:
    """Change both marts and publish, n times; returns the seconds that each publish took."""
    seconds = []
    for number in range(n):
        change(home, f"update marts.dim_studies set n = {number}; update marts.fct_results set n = {number}")
        began = time.monotonic()
        assert publish(home, keep=keep, grace_seconds=grace_seconds).changed
        seconds.append(time.monotonic() - began)
    return seconds
