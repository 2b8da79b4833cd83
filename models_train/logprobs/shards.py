"""Shards of a sample: finished, claimed, and their costs. Several processes of one machine share the work.

A finished shard is a part. A shard is claimed by a lock on one byte of a file, which the kernel gives back when the
process ends, however it ends: no lease can run out under a slow worker, and none is left behind by a killed one.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property, reduce
from operator import add
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from models_train.data.records import Document
from models_train.data.samples import FILE, read_sample
from models_train.errors import UserError
from models_train.logprobs.kept_costs import KEPT, kept_costs
from models_train.metering import Costs
from models_train.parts import read_table
from models_train.store import Parts, Place, Store
from models_train.study.scoring import Shard
from warehouse.contracts import DOCUMENT_TABLES

DOCUMENT_SCORES = DOCUMENT_TABLES["document_scores"]
FACTS = "facts.json"
"""File that keeps what a scoring is made from, in the folder KEPT among the parts."""


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
                f"hash begins with {found}); remove the folder and sample the documents again"
            )
    return documents


class Shards:
    """The shards of one scoring run in its own folder, with the parts of those that are finished."""

    def __init__(self, folder: Path, parts: Parts, study_id: str, run_id: str, shards: list[Shard]) -> None:
        self._folder, self._parts = folder, Store.at(parts).below(f"{DOCUMENT_SCORES.name}/{study_id}")
        self._root = Store.at(parts)
        self._kept = Store.at(parts).below(f"{KEPT}/{study_id}/{run_id}")
        self.study_id, self._run_id, self._shards = study_id, run_id, shards

    @cached_property
    def _locks(self) -> int:
        self._folder.mkdir(parents=True, exist_ok=True)
        return os.open(self._folder / "claims", os.O_RDWR | os.O_CREAT, 0o644)

    def part_id(self, shard: Shard) -> str:
        """run_id of the part of a shard."""
        return f"{self._run_id}-{shard.name}"

    def part(self, shard: Shard) -> Path | Place:
        """Path or place of the part of a shard, which need not exist."""
        return self._parts.place(f"{self.part_id(shard)}.parquet")

    def numbered(self, index: int) -> Shard:
        """The shard of a number."""
        return next(shard for shard in self._shards if shard.index == index)

    def left(self) -> list[Shard]:
        """Shards that are not finished, by one listing."""
        done = {item.key for item in self._parts.list()}
        return [shard for shard in self._shards if f"{self.part_id(shard)}.parquet" not in done]

    @contextmanager
    def claimed(self) -> Iterator[Shard | None]:
        """A shard for this process alone, or None where other processes hold all that are left."""
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
            # Another process finished it after the folder was read and before the lock.
            fcntl.lockf(self._locks, fcntl.LOCK_UN, 1, shard.index)
        return None

    def agree(self, facts: Mapping[str, Any]) -> None:
        """Record what the shards are made from, or check it where it is recorded. Raises UserError for a difference."""
        if not self._kept.exists(FACTS) and self._kept.put_new(FACTS, json.dumps(dict(facts)).encode()):
            return
        known = json.loads(self._kept.get(FACTS))
        changed = [name for name, value in facts.items() if known.get(name) != value]
        if changed:
            done = len(self._shards) - len(self.left())
            raise UserError(
                f"{' and '.join(changed)} changed since the scoring began ({done} of {len(self._shards)} shards are "
                f"done): scores would not be comparable. Bring back what it was (a `revision` in the study file pins "
                f"it), or score again: remove {self._kept} and {self._parts}/{self._run_id}-*.parquet"
            )

    def add_costs(self, name: str, costs: Costs) -> None:
        """Keep the costs of a piece of work; the same piece done again replaces them."""
        self._kept.put(f"costs/{name}.json", json.dumps(vars(costs)).encode())

    def costs(self) -> Costs:
        """Costs of all pieces of work together; several kinds of device are all named. Raises UserError for none."""
        found = kept_costs(self._root, self._folder, self.study_id, self._run_id)
        shards = {shard.name for shard in self._shards}
        kept = [Costs(**costs) for name, costs in found.items() if name in shards or not name.isdigit()]
        if not kept:
            raise UserError(
                f"{self._kept} no longer holds what the finished shards cost; bring it back, or score again: remove "
                f"{self._parts}/{self._run_id}-*.parquet"
            )
        return replace(reduce(add, kept), device=" + ".join(sorted({one.device for one in kept})))

    def statuses(self) -> list[str]:
        """Status of every document of the finished shards."""
        found: list[str] = []
        left = self.left()
        for shard in self._shards:
            if shard not in left:
                found += read_table(self.part(shard), columns=["status"])["status"].to_pylist()
        return found
