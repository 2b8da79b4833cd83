"""Footers of Parquet files in a store: schema, metadata and number of rows, without the rows.

A footer is read once per process and version of a file. Those of a bucket are also kept in a file, under key and etag:
a file never changes under an etag, so that a later look needs no request but the listing. What is kept is of no value:
it is read again where it is lost.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from models_train.store import Item, Place, Store

PREFIX = "rewardbase."
"""Beginning of the names of a part's metadata."""
SUFFIX = ".parquet"
TAIL_BYTES = 65_536
"""Bytes read from the end of a file, in which the footer of most is whole."""
REQUESTS_AT_ONCE = 16
_END = b"PAR1"
_TABLES = """
create table if not exists fields (id integer primary key, schema blob not null unique);
create table if not exists footers (
    file text primary key, etag text not null, fields integer not null, metadata text not null, n_rows integer not null
) without rowid;
"""


@dataclass(frozen=True)
class Footer:
    """Footer of a Parquet file. fields: schema without metadata. metadata: that of this project, by name after its
    prefix."""

    fields: pa.Schema
    metadata: Mapping[str, str]
    n_rows: int

    @property
    def written_at(self) -> datetime:
        """Time of writing that the file states. Raises KeyError and ValueError for a file that is not a part."""
        return datetime.fromisoformat(self.metadata["written_at"]).astimezone(UTC)

    @property
    def costs(self) -> dict[str, Any] | None:
        """What the part cost; None for one that does not say."""
        kept = self.metadata.get("costs")
        return json.loads(kept) if kept else None


def is_part_key(key: str) -> bool:
    """Whether a key is that of a part: `<table>/<study>/<run>.parquet`."""
    return key.endswith(SUFFIX) and key.count("/") == 2


def source_of(part: Path | Place) -> Path | pa.BufferReader:
    """What pyarrow reads a part from: its path, or what a bucket holds of it. Raises OSError and StoreError."""
    return part if isinstance(part, Path) else pa.BufferReader(part.store.get(part.key))


_known: dict[tuple[str, str], Footer] = {}
"""Footers of buckets by file and etag."""
_loaded: set[tuple[Path, str]] = set()


def footer(store: Store, item: Item) -> Footer:
    """Footer of a file. Raises OSError and ArrowException where there is none that can be read, and StoreError."""
    if isinstance(path := store.place(item.key), Path):
        return _of_file(path, item.etag)
    name = (str(path), item.etag)
    if name not in _known:
        _known[name] = _read(store, item)
    return _known[name]


def footer_or_none(store: Store, item: Item) -> Footer | None:
    """Footer of a file; None for one that cannot be read. Raises StoreError."""
    try:
        return footer(store, item)
    except (OSError, pa.ArrowException):
        return None


def fetch_footers(store: Store, items: Sequence[Item]) -> None:
    """Read the footers of files of a bucket that are not known yet, several at once, and keep them."""
    if not store.has_clock:
        return
    _load(store)
    missing = [item for item in items if (f"{store}/{item.key}", item.etag) not in _known]
    if not missing:
        return
    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
        for item, found in zip(missing, pool.map(lambda item: _read_or_none(store, item), missing), strict=True):
            if found is not None:
                _known[(f"{store}/{item.key}", item.etag)] = found
    _keep(store, missing)


@lru_cache(maxsize=65536)
def _of_file(path: Path, etag: str) -> Footer:
    with pq.ParquetFile(path) as file:
        return _footer(file)


def _footer(file: pq.ParquetFile) -> Footer:
    schema = file.schema_arrow
    metadata = {
        name.decode().removeprefix(PREFIX): value.decode(errors="replace")
        for name, value in (schema.metadata or {}).items()
        if name.startswith(PREFIX.encode())
    }
    return Footer(schema.remove_metadata(), metadata, file.metadata.num_rows)


def _read_or_none(store: Store, item: Item) -> Footer | None:
    """Footer of a file, or None for one that is damaged: who asks for it finds out again."""
    try:
        return _read(store, item)
    except (OSError, pa.ArrowException):
        return None


def _read(store: Store, item: Item) -> Footer:
    """Footer from the end of a file, whose last eight bytes are its length and the format's name."""
    end = store.tail(item.key, TAIL_BYTES)
    if end.endswith(_END) and len(end) >= 8:
        n_bytes = int.from_bytes(end[-8:-4], "little") + 8
        if len(end) < n_bytes <= item.size:
            end = store.tail(item.key, n_bytes)
    # A reader of the footer alone looks at nothing before it.
    with pq.ParquetFile(pa.BufferReader(end)) as file:
        return _footer(file)


def _use(path: Path, work: Callable[[sqlite3.Connection], None]) -> None:
    """Work with the file of footers. Nothing depends on it: a damaged one is removed, other errors are passed over."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path, timeout=10)) as connection, connection:
            connection.executescript(_TABLES)
            work(connection)
    except (sqlite3.OperationalError, OSError):
        pass  # locked by another process, or a disk that is full
    except (sqlite3.DatabaseError, pa.ArrowException, ValueError, LookupError):
        path.unlink(missing_ok=True)


def _load(store: Store) -> None:
    """Take over the footers that are kept of a store, once per process."""
    if store.facts is None or (store.facts, str(store)) in _loaded:
        return
    _loaded.add((store.facts, str(store)))

    def load(connection: sqlite3.Connection) -> None:
        rows = connection.execute("select id, schema from fields").fetchall()
        fields = {number: pa.ipc.read_schema(pa.BufferReader(schema)) for number, schema in rows}
        kept = connection.execute(
            "select file, etag, fields, metadata, n_rows from footers where file >= ? and file < ?",
            (f"{store}/", f"{store}0"),  # "0" follows "/"
        )
        for file, etag, number, metadata, n_rows in kept:
            _known[(file, etag)] = Footer(fields[number], json.loads(metadata), n_rows)

    _use(store.facts, load)


def _keep(store: Store, items: Sequence[Item]) -> None:
    if store.facts is None:
        return

    def keep(connection: sqlite3.Connection) -> None:
        for item in items:
            file = f"{store}/{item.key}"
            known = _known.get((file, item.etag))
            if known is None:
                continue
            schema = known.fields.serialize().to_pybytes()
            connection.execute("insert or ignore into fields (schema) values (?)", (schema,))
            connection.execute(
                "insert or replace into footers select ?, ?, id, ?, ? from fields where schema = ?",
                (file, item.etag, json.dumps(dict(known.metadata)), known.n_rows, schema),
            )

    _use(store.facts, keep)
