"""Code versions: a short hash of the files that make an asset what it is.

Dagster compares them with the version that an asset was last materialized with; that is how a second run knows
what changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from warehouse.paths import REPOSITORY


def of_files(*patterns: str, root: Path = REPOSITORY, may_be_none: bool = False) -> str:
    """12 hex digits over names and contents of the files that match the glob patterns, relative to `root`.

    Raises FileNotFoundError for a pattern that matches nothing, unless that `may_be_none`: a version of nothing would
    never change.
    """
    digest = hashlib.sha256()
    for path in sorted(set(_matches(patterns, root, may_be_none))):
        digest.update(f"{path.relative_to(root).as_posix()}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]


def of_names(names: Iterable[str]) -> str:
    """12 hex digits over a set of names."""
    return hashlib.sha256("\0".join(sorted(names)).encode()).hexdigest()[:12]


def _matches(patterns: Iterable[str], root: Path, may_be_none: bool) -> Iterable[Path]:
    for pattern in patterns:
        found = [path for path in root.glob(pattern) if path.is_file() and "__pycache__" not in path.parts]
        if not found and not may_be_none:
            raise FileNotFoundError(f"no file matches {pattern} in {root}")
        yield from found
