"""What a home has published."""

from __future__ import annotations

import os
from pathlib import Path

import duckdb


def published_state(home: Path) -> tuple[str, int, str]:
    """Where the pointer points, when its file was written (nanoseconds), and the snapshot's id."""
    pointer = home / "published" / "current.duckdb"
    with duckdb.connect(str(pointer), read_only=True) as connection:
        snapshot = connection.execute("select snapshot_id from marts.snapshot").fetchone()
    assert snapshot is not None
    return os.readlink(pointer), pointer.stat().st_mtime_ns, snapshot[0]
