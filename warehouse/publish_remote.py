"""The published snapshot where other machines read it: a folder or bucket that REWARDBASE_PUBLISH names.

Each snapshot has a folder of its own, which never changes: the DuckDB file and every mart as Parquet. The pointer
`current.json` names it and moves last, by compare-and-swap. Readers of a bucket cannot be seen, so that old snapshots
go by their age alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb

from models_train.errors import UserError, first_line
from models_train.files import atomic_path, sha256, write_text
from models_train.store import Item, Store, StoreError, parts_at, parts_of
from warehouse.connection import Connection, literal, read
from warehouse.content_id import SNAPSHOT_TABLE, qualified, row_counts
from warehouse.paths import Home
from warehouse.publish import current_snapshot

PUBLISH = "REWARDBASE_PUBLISH"
"""Setting: the folder or address that snapshots are published to for other machines."""
POINTER = "current.json"
"""Key of the pointer."""
SNAPSHOTS = "snapshots"
"""Folder of the snapshots."""
KEPT_SNAPSHOTS = 10
"""Number of newest snapshots that are kept whatever their age."""
KEPT_HOURS = 72.0
"""Age in hours up to which every snapshot is kept, by the store's clock."""
CACHED_SNAPSHOTS = 5
"""Number of downloaded snapshots that stay on the machine of a reader."""
_DATABASE = "rewardbase.duckdb"
"""Not `marts`: DuckDB names the database after its file, and a schema is called that."""
_RECORD = "remote.json"
_MOST_SWAPS = 100


@dataclass(frozen=True)
class PublishedFile:
    """A file of a snapshot: its key below the address, size in bytes and SHA-256; rows of a mart."""

    key: str
    n_bytes: int
    sha256: str
    n_rows: int | None = None


@dataclass(frozen=True)
class Pointer:
    """Content of `current.json`. name: folder of the snapshot. created_at: ISO 8601."""

    snapshot_id: str
    name: str
    created_at: str
    rewardbase_version: str
    duckdb_version: str
    database: PublishedFile
    marts: dict[str, PublishedFile]


def publish_address(environment: Mapping[str, str] | None = None) -> Store | None:
    """The store that REWARDBASE_PUBLISH names; None where it is not set. Raises StoreError."""
    named = (os.environ if environment is None else environment).get(PUBLISH, "").strip()
    return Store.at(parts_at(named)) if named else None


def refuse_among_parts(home: Path) -> None:
    """Raise StoreError for snapshots that would lie among the parts, or parts among them."""
    store = publish_address()
    if store is not None:
        parts, published = f"{parts_of(home)}/", f"{store}/"
        if parts.startswith(published) or published.startswith(parts):
            raise StoreError(f"{PUBLISH}={store} and the parts in {parts[:-1]} overlap; name a folder of its own")


def publish_remote(
    home: Home, store: Store | None = None, *, keep: int = KEPT_SNAPSHOTS, hours: float = KEPT_HOURS
) -> Pointer | None:
    """Publish the current snapshot of the home, unless the pointer names its content already; returns the pointer.

    Where another publisher moves the pointer at the same time, the one that comes last stays. store: instead of the
    setting; without either there is nothing to do, and None is returned. keep, hours: which old snapshots stay. Raises
    UserError; then the pointer is where it was.
    """
    store = publish_address() if store is None else store
    snapshot = current_snapshot(home)
    if store is None or snapshot is None:
        return None
    found = _pointer(store)[0]
    if found is None or found.snapshot_id != snapshot.id or not _is_whole(store, found):
        found = _upload(home, store, snapshot.path)
        _move_pointer(store, found)
        _prune(store, keep, timedelta(hours=hours))
    _record(home, store, snapshot.path)
    return found


def remote_problem(home: Home) -> str | None:
    """Reason to publish again: the home's snapshot was not published to the address that is set; or None.

    Makes no request: another home that publishes to the same address is not answered by publishing in turn.
    """
    store = publish_address()
    if store is None or not home.current.exists():
        return None
    wanted = {"address": str(store), "snapshot": home.current.resolve().name}
    try:
        known = json.loads((home.published / _RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = None
    return None if known == wanted else f"the snapshot was not published to {store} yet"


def _record(home: Home, store: Store, snapshot: Path) -> None:
    write_text(home.published / _RECORD, json.dumps({"address": str(store), "snapshot": snapshot.name}))


def _pointer(store: Store) -> tuple[Pointer | None, str | None]:
    """The pointer and its etag; None for what is not there. Raises StoreError for one that cannot be read."""
    try:
        content, etag = store.get_with_etag(POINTER)
    except FileNotFoundError:
        return None, None
    try:
        facts = json.loads(content)
        marts = {str(name): PublishedFile(**one) for name, one in facts.pop("marts").items()}
        return Pointer(**facts | {"marts": marts, "database": PublishedFile(**facts["database"])}), etag
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        text = f"{store}/{POINTER} is not the pointer of a snapshot ({first_line(error)}); remove it, and publish again"
        raise StoreError(text) from error


def _is_whole(store: Store, pointer: Pointer) -> bool:
    """Whether the files of a snapshot are there, by their sizes."""
    sizes = {item.key: item.size for item in store.list(f"{SNAPSHOTS}/{pointer.name}")}
    return all(sizes.get(file.key) == file.n_bytes for file in (pointer.database, *pointer.marts.values()))


def _upload(home: Home, store: Store, snapshot: Path) -> Pointer:
    """Write the files of a snapshot, the pointer to which is returned."""
    folder = f"{SNAPSHOTS}/{snapshot.stem}"
    with (
        read(snapshot) as connection,
        tempfile.TemporaryDirectory(prefix=".remote-", suffix=".tmp", dir=home.published) as made,
    ):
        facts = connection.execute(
            f"select snapshot_id, strftime(created_at at time zone 'UTC', '%Y-%m-%dT%H:%M:%SZ'), rewardbase_version "
            f"from marts.{SNAPSHOT_TABLE}"
        ).fetchone()
        assert facts is not None
        marts = {}
        for name, n_rows in (row_counts(connection) | {SNAPSHOT_TABLE: 1}).items():
            path = _as_parquet(connection, name, Path(made))
            marts[name] = _put(store, f"{folder}/{name}.parquet", path, n_rows)
            path.unlink()
        database = _put(store, f"{folder}/{_DATABASE}", snapshot)
    return Pointer(facts[0], snapshot.stem, facts[1], facts[2], duckdb.__version__, database, marts)


def _as_parquet(connection: Connection, name: str, folder: Path) -> Path:
    found = connection.execute("select current_database()").fetchone()
    path, mart = folder / f"{name}.parquet", qualified(str(found[0]) if found else "", "marts", name)
    try:
        connection.execute(f"copy (from {mart}) to {literal(str(path))} (format parquet)")
    except duckdb.Error as error:
        raise UserError(f"{path}: the mart could not be written ({first_line(error)}); check disk space") from error
    return path


def _put(store: Store, key: str, path: Path, n_rows: int | None = None) -> PublishedFile:
    store.put_file(key, path)
    return PublishedFile(key, path.stat().st_size, sha256(path), n_rows)


def _move_pointer(store: Store, pointer: Pointer) -> None:
    content = json.dumps(asdict(pointer), indent=1).encode()
    for _ in range(_MOST_SWAPS):
        present, etag = _pointer(store)
        # A swap whose answer was lost on the way was made, and is refused when it is tried again.
        if present == pointer or store.swap(POINTER, content, etag) is not None:
            return
    raise StoreError(f"{store}/{POINTER}: other publishers move the pointer all the time; let one home publish there")


def _prune(store: Store, keep: int, age: timedelta) -> None:
    """Remove old snapshots, and what killed publishers left of theirs. What cannot be removed stays."""
    pointer, _ = _pointer(store)
    folders: dict[str, list[Item]] = {}
    for item in store.list(SNAPSHOTS):
        folders.setdefault(item.key.split("/")[1], []).append(item)
    # Stores date by the second; within one the names, which begin with the time, decide.
    newest_first = sorted(folders, key=lambda name: (max(item.changed for item in folders[name]), name), reverse=True)
    for name in newest_first[keep:]:
        last = max(item.changed for item in folders[name])
        if pointer is not None and name != pointer.name and store.now() - last >= age:
            with contextlib.suppress(StoreError, OSError):
                _remove(store, folders[name])
                store.prune(f"{SNAPSHOTS}/{name}")


def _remove(store: Store, items: Iterable[Item]) -> None:
    for item in items:
        store.delete(item.key)


def open_snapshot(address: str | Path, cache: Path | None = None) -> Connection:
    """A read-only connection to the snapshot that was published last to a folder or bucket.

    The file is downloaded once per snapshot. cache: folder for it, by default `~/.cache/rewardbase`. The caller closes
    the connection. Raises UserError where nothing is published, or the file cannot be had or opened.
    """
    store, pointer = _published(address)
    path = store.place(pointer.database.key)
    if not isinstance(path, Path):
        path = _downloaded(store, pointer, cache or _cache())
    try:
        return duckdb.connect(str(path), read_only=True)
    except duckdb.Error as error:
        text = f"DuckDB {duckdb.__version__} cannot open the snapshot, which {pointer.duckdb_version} wrote"
        remedy = "use a version from that one on, or read the marts as Parquet"
        raise UserError(f"{path}: {text} ({first_line(error)}); {remedy}") from error


def _published(address: str | Path) -> tuple[Store, Pointer]:
    store = Store.at(address if isinstance(address, Path) else parts_at(address))
    pointer, _ = _pointer(store)
    if pointer is None:
        raise StoreError(f"{store}: no snapshot is published here; correct the address, or publish to it ({PUBLISH})")
    return store, pointer


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rewardbase"


def _downloaded(store: Store, pointer: Pointer, cache: Path) -> Path:
    """The file of a snapshot on this machine, whole. Raises StoreError for one that is not what was published."""
    wanted = pointer.database
    path = cache / f"{pointer.name}-{wanted.sha256[:12]}.duckdb"
    if not path.exists() or path.stat().st_size != wanted.n_bytes:
        try:
            content = store.get(wanted.key)
        except FileNotFoundError:
            raise StoreError(f"{store}/{wanted.key} is missing; publish the snapshot again") from None
        if hashlib.sha256(content).hexdigest() != wanted.sha256:
            raise StoreError(f"{store}/{wanted.key} is not what was published; publish the snapshot again")
        with atomic_path(path) as beside:
            beside.write_bytes(content)
        newest_first = sorted(cache.glob("*.duckdb"), key=lambda one: one.stat().st_mtime, reverse=True)
        for old in newest_first[CACHED_SNAPSHOTS:]:
            old.unlink(missing_ok=True)
    return path


def published_files(address: str | Path) -> dict[str, Any]:
    """Addresses of the snapshot that was published last: `database`, and `marts` by name. Raises UserError."""
    store, pointer = _published(address)
    marts = {name: str(store.place(file.key)) for name, file in pointer.marts.items()}
    return {"database": str(store.place(pointer.database.key)), "marts": marts}
