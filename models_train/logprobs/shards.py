"""Shards of a sample: what is done, who is at it, what it cost. Several processes of one machine share the work.

A finished shard is a part. A shard is claimed by a lock on one byte of a file, which the kernel gives back when the
process ends, however it ends: no lease can run out under a slow worker, and none is left behind by a killed one.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from models_train.data.records import Document
from models_train.data.samples import FILE, read_sample
from models_train.errors import UserError
from models_train.metering import Costs
from warehouse.contracts import DOCUMENT_TABLES

DOCUMENT_SCORES = DOCUMENT_TABLES["document_scores"]


class ShardError(RuntimeError):
    """Shards that belong together were not made alike. The message says what differs, and the remedy."""


@dataclass(frozen=True)
class Shard:
    """Documents `start` to before `stop` of a sample."""

    index: int
    start: int
    stop: int

    @property
    def name(self) -> str:
        """Such as `00003`."""
        return f"{self.index:05d}"


def cut(n_documents: int, documents_per_shard: int) -> list[Shard]:
    """Shards of all documents, in order."""
    return [
        Shard(index, start, min(start + documents_per_shard, n_documents))
        for index, start in enumerate(range(0, n_documents, documents_per_shard))
    ]


def sample_content(folder: Path) -> str:
    """SHA-256, hexadecimal, over the ids of a sample's documents, each of which is a hash of its text."""
    ids = pq.read_table(folder / FILE, columns=["document_id"], partitioning=None).column("document_id")
    return hashlib.sha256("\n".join(ids.to_pylist()).encode()).hexdigest()


def documents_of(folder: Path, shard: Shard) -> list[Document]:
    """The documents of a shard. Raises UserError where a text is not the one that its id was made from."""
    documents = list(read_sample(folder, shard.start, shard.stop))
    for document in documents:
        found = hashlib.sha256(document.text.encode()).hexdigest()[: len(document.document_id)]
        if found != document.document_id:
            raise UserError(
                f"{folder / FILE}: the text of document {document.document_id} is not the one that was sampled (its "
                f"hash begins with {found}); remove the folder and sample the documents anew"
            )
    return documents


class Shards:
    """The shards of one scoring run in its own folder, with the parts of those that are finished."""

    def __init__(self, folder: Path, parts: Path, study_id: str, run_id: str, shards: list[Shard]) -> None:
        self._folder, self._parts = folder, parts / DOCUMENT_SCORES.name / study_id
        self._run_id, self._shards = run_id, shards
        folder.mkdir(parents=True, exist_ok=True)
        self._locks = os.open(folder / "claims", os.O_RDWR | os.O_CREAT, 0o644)

    def part_id(self, shard: Shard) -> str:
        """run_id of the part of a shard."""
        return f"{self._run_id}-{shard.name}"

    def part(self, shard: Shard) -> Path:
        """The part of a shard, there or not."""
        return self._parts / f"{self.part_id(shard)}.parquet"

    def left(self) -> list[Shard]:
        """Shards that nobody has finished."""
        return [shard for shard in self._shards if not self.part(shard).exists()]

    @contextmanager
    def claimed(self) -> Iterator[Shard | None]:
        """A shard that is left, for this process alone; None where others are at all of them."""
        shard = self._claim()
        try:
            yield shard
        finally:
            if shard is not None:
                fcntl.lockf(self._locks, fcntl.LOCK_UN, 1, shard.index)

    def _claim(self) -> Shard | None:
        for shard in self.left():
            try:
                fcntl.lockf(self._locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, shard.index)
            except BlockingIOError:
                continue
            if not self.part(shard).exists():
                return shard
            # Another process finished it between the look at the folder and the lock.
            fcntl.lockf(self._locks, fcntl.LOCK_UN, 1, shard.index)
        return None

    def agree(self, facts: Mapping[str, Any]) -> None:
        """Say what the shards are made from, or check it where a shard was made. Raises ShardError for a difference."""
        path = self._folder / "facts.json"
        if _write_new(path, facts):
            return
        known = json.loads(path.read_text())
        changed = [name for name, value in facts.items() if known.get(name) != value]
        if changed:
            done = len(self._shards) - len(self.left())
            raise ShardError(
                f"{' and '.join(changed)} changed since the scoring began ({done} of {len(self._shards)} shards are "
                f"done): scores would not be comparable. Bring back what it was (a `revision` in the study file pins "
                f"it), or score anew: remove {self._folder} and {self._parts / self._run_id}-*.parquet"
            )

    def add_costs(self, name: str, costs: Costs) -> None:
        """Keep what a piece of work cost; the same piece done again replaces it."""
        _replace(self._folder / "costs" / f"{name}.json", vars(costs))

    def costs(self) -> Costs:
        """Costs of all pieces of work together. Raises ShardError where none are kept."""
        kept = [Costs(**json.loads(path.read_text())) for path in sorted((self._folder / "costs").glob("*.json"))]
        if not kept:
            raise ShardError(
                f"{self._folder} no longer holds what the finished shards cost; bring it back, or score anew: remove "
                f"{self._parts / self._run_id}-*.parquet"
            )
        return reduce(add, kept)

    def statuses(self) -> list[str]:
        """Status of every document of the finished shards."""
        found: list[str] = []
        for shard in self._shards:
            if self.part(shard).exists():
                found += pq.read_table(self.part(shard), columns=["status"], partitioning=None)["status"].to_pylist()
        return found


def _write_new(path: Path, content: Mapping[str, Any]) -> bool:
    """Write a file that is not there, complete or not at all; False where it is there."""
    temporary = _temporary(path, content)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    return True


def _replace(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    os.replace(_temporary(path, content), path)


def _temporary(path: Path, content: Mapping[str, Any]) -> Path:
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex[:8]}.tmp"
    with temporary.open("w") as file:
        json.dump(dict(content), file)
        file.flush()
        os.fsync(file.fileno())
    return temporary
