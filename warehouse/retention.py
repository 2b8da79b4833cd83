"""Which published snapshots stay on disk, and when an old one may go.

A reader of the pointer looks up the snapshot's name first and opens the file a moment later (DuckDB does so itself), so
a snapshot stays for a while after its successor took its place. Whoever has it open holds DuckDB's shared lock on it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import sys
import time
from pathlib import Path

import psutil

from warehouse.paths import Home

KEPT_SNAPSHOTS = 10
"""So many snapshots stay on disk, the newest ones, besides the one that is pointed at."""
GRACE_SECONDS = 600.0
"""So long a snapshot stays after the next one was made, for readers that know its name and have not yet opened it."""

_LEFTOVER_SECONDS = 3600.0
# struct flock of 64-bit Linux: type, whence, start, length, process.
_FLOCK = "hhqqi4x"


def prune(home: Home, keep: int = KEPT_SNAPSHOTS, grace_seconds: float = GRACE_SECONDS) -> list[Path]:
    """Remove old snapshots; returns those removed.

    A snapshot stays if it is pointed at, among the newest `keep`, followed by another for less than `grace_seconds`, or
    open in some process. One that cannot be removed stays, too: the new one is out, and that is what counts.
    """
    pointed = home.current.resolve()
    oldest_first = sorted(home.snapshots.glob("[!.]*.duckdb"))
    removed = []
    # Oldest first: when a snapshot was followed is told by its successor's file, which is still there then.
    for old, successor in zip(
        oldest_first[: max(0, len(oldest_first) - keep)], [*oldest_first[1:], None], strict=False
    ):
        with contextlib.suppress(OSError):
            if old.resolve() == pointed or successor is None:
                continue
            if time.time() - successor.stat().st_ctime >= grace_seconds and not is_open(old):
                old.unlink()
                removed.append(old)
    return removed


def is_open(path: Path) -> bool:
    """Whether some process reads a DuckDB file: it holds a lock on it, or is this very one. Raises OSError.

    Elsewhere than on Linux only this process is known of.
    """
    # Closing any descriptor of a file gives up all locks that the process has on it: leave alone what is open here.
    if str(path.resolve()) in {file.path for file in psutil.Process().open_files()}:
        return True
    if not sys.platform.startswith("linux"):
        return False
    descriptor = os.open(path, os.O_RDONLY)
    try:
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        answer = struct.unpack(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
    finally:
        os.close(descriptor)
    return bool(answer[0] != fcntl.F_UNLCK)


def remove_leftovers(home: Home) -> None:
    """Remove what killed publishers left behind; young files may belong to one that is at work."""
    for leftover in (*home.snapshots.glob(".building-*"), *home.published.glob(".current-*")):
        with contextlib.suppress(OSError):
            if time.time() - leftover.lstat().st_mtime > _LEFTOVER_SECONDS:
                leftover.unlink()
