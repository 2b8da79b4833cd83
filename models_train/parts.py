"""Rows -> contract -> one immutable Parquet part, written atomically to a folder or bucket (`store.py`).

Parts are the truth of the project; the warehouse is rebuilt from them. A part lies at
`<parts>/<table>/<study_id>/<run_id>.parquet`; its Parquet metadata hold who wrote it, when, and for which contract.
The time of writing also orders the parts of a partition. So that this order never hangs on a clock, a part is dated
after every other part of its table and study, by a microsecond where the clock says an earlier time.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.types as pt

from models_train.errors import Problems, UserError
from models_train.footers import PREFIX, SUFFIX, fetch_footers, footer, is_part_key, source_of
from models_train.store import Item, Parts, Place, Store
from warehouse.contracts import RETIRED, Table

Rows: TypeAlias = Sequence[Mapping[str, Any]] | pa.Table | Any
"""A list of dicts, an Arrow table, or any frame that speaks the Arrow C stream (Polars, pandas)."""

RECENT = timedelta(seconds=10)
"""Age up to which a part of a bucket may be as late as one that is written now: what two machines' views of the store's
clock differ by, with the time that a write takes."""
_WRITTEN_AT, _PARTITION, _COSTS = f"{PREFIX}written_at", f"{PREFIX}partition", f"{PREFIX}costs"
_SHARD = "shard"
_SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


def content_hash(content: Any, length: int = 12) -> str:
    """Short stable hash for run ids: the first `length` hex digits of SHA-256 over canonical JSON.

    Equal content gives equal hashes on every machine, whatever the order of its keys. Raises TypeError for
    what JSON cannot hold and ValueError for NaN and infinity.
    """
    canonical = json.dumps(
        content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False, default=_as_json
    )
    return hashlib.sha256(canonical.encode()).hexdigest()[:length]


def _as_json(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    raise TypeError(f"a {type(value).__name__} has no stable form to hash: pass text, numbers, lists and dicts")


def part_path(parts: Parts, table: str, study_id: str, run_id: str) -> Path | Place:
    """Path of a part in a folder, or its place in a bucket; it need not exist."""
    return Store.at(parts).place(_key(table, study_id, run_id))


def part_rows(part: Path | Place) -> list[dict[str, Any]]:
    """Rows of a part."""
    rows: list[dict[str, Any]] = read_table(part).to_pylist()
    return rows


def read_table(part: Path | Place, columns: list[str] | None = None) -> pa.Table:
    """Rows of a part as an Arrow table. Raises OSError and ArrowException for one that is missing or damaged."""
    return pq.read_table(source_of(part), columns=columns, partitioning=None, page_checksum_verification=True)


def write_part(
    parts: Parts,
    table: Table,
    rows: Rows,
    *,
    study_id: str,
    run_id: str,
    written_at: datetime | None = None,
    new: bool = False,
    costs: Mapping[str, Any] | None = None,
) -> Any:
    """Check `rows` against the contract and write them as one part; returns its path, or its place in a bucket.

    The columns `study_id` and `run_id` may be left out of the rows: the part gives them. A part of the same run is
    replaced; its `written_at` is later than that of every other part of the table and study, unless it is given, as for
    a part that takes the place of an older one. new: only where there is no part of the run; returns None otherwise.
    costs: what the part cost, which it keeps in its footer. Raises UserError where the rows do not fit; then nothing
    is written.
    """
    for what, name in (("study_id", study_id), ("run_id", run_id)):
        if not _SAFE_NAME.fullmatch(name):
            raise UserError(
                f"{table.name}: {what} {name!r} cannot be part of a file name: "
                "use letters, digits, '_', '.' and '-' only"
            )
    store, key = Store.at(parts), _key(table.name, study_id, run_id)
    checked = check_rows(table, rows, study_id=study_id, run_id=run_id)
    partition = {name: _partition_value(table, checked, name, study_id) for name in table.partition_by}
    # Many machines write the shards of one table: the clock that they share orders them without a listing for each.
    time = written_at or (store.now() if new and store.has_clock else next_time(store, table.name, study_id))
    metadata = {
        f"{PREFIX}table": table.name,
        _PARTITION: json.dumps(partition),
        f"{PREFIX}run_id": run_id,
        _WRITTEN_AT: time.isoformat(timespec="microseconds"),
        f"{PREFIX}contract": table.fingerprint,
    }
    if costs is not None:
        metadata[_COSTS] = json.dumps(dict(costs))
    content = _as_parquet(checked.replace_schema_metadata(metadata))
    if not new:
        store.put(key, content)
    elif not store.put_new(key, content):
        return None
    return store.place(key)


def _key(table: str, study_id: str, run_id: str) -> str:
    return f"{table}/{study_id}/{run_id}.parquet"


def _as_parquet(rows: pa.Table) -> bytes:
    content = pa.BufferOutputStream()
    pq.write_table(rows, content, write_page_checksum=True)
    return content.getvalue().to_pybytes()


def is_whole(part: Path | Place) -> bool:
    """True where a part is there and can be read; parts of earlier versions have no checksums to compare."""
    try:
        with pq.ParquetFile(source_of(part), page_checksum_verification=True) as file:
            for _ in file.iter_batches():
                pass
    except (OSError, pa.ArrowException):
        return False
    return True


def renew_run(parts: Parts, table: str, study_id: str, run_id: str) -> None:
    """Date the parts of a run again, its shards included, where a part of another run in their partition is later.

    Settings that were tried in between left that one, and the latest counts.
    """
    store = Store.at(parts)
    known = {item.key: facts for item in _items(store, table, study_id) if (facts := _facts(store, item)) is not None}
    names = {key: key.rpartition("/")[2].removesuffix(SUFFIX) for key in known}
    latest = {key: known[key] for key, name in names.items() if name == run_id or name.startswith(f"{run_id}-")}
    others = [facts for key, facts in known.items() if key not in latest]
    if not any(other[0] == one[0] and other[1] >= one[1] for one in latest.values() for other in others):
        return
    for key in latest:
        rows = read_table(store.place(key))
        time = next_time(store, table, study_id).isoformat(timespec="microseconds")
        metadata = {**(rows.schema.metadata or {}), _WRITTEN_AT.encode(): time}
        store.put(key, _as_parquet(rows.replace_schema_metadata(metadata)))


def _items(store: Store, table: str, study_id: str) -> list[Item]:
    """The files of a study in a table, with their footers at hand."""
    found = [item for item in store.list(f"{table}/{study_id}") if is_part_key(item.key)]
    fetch_footers(store, found)
    return found


def _facts(store: Store, item: Item) -> tuple[dict[str, Any], datetime] | None:
    """Partition of a part without its shard, and its time of writing; None for a file that is not a part."""
    written_at = _time_of(store, item)
    if written_at is None:
        return None
    partition = json.loads(footer(store, item).metadata[_PARTITION.removeprefix(PREFIX)])
    return {name: value for name, value in partition.items() if name != _SHARD}, written_at


def keep_part(
    parts: Parts, table: Table, rows: Sequence[Mapping[str, Any]] | pa.Table, *, study_id: str, run_id: str
) -> None:
    """Write a part, unless it is there and whole; then it is made the newest of its partition."""
    if is_whole(part_path(parts, table.name, study_id, run_id)):
        renew_run(parts, table.name, study_id, run_id)
    else:
        write_part(parts, table, rows, study_id=study_id, run_id=run_id)


def newest_runs(parts: Parts, table: Table, study_id: str) -> list[tuple[dict[str, Any], str]]:
    """Partition and run id of a study's parts that count: of each partition the one written last, of this contract."""
    store = Store.at(parts)
    found: dict[str, tuple[datetime, dict[str, Any], str]] = {}
    for item in _items(store, table.name, study_id):
        facts = _facts(store, item)
        if facts is None or footer(store, item).metadata.get("contract") != table.fingerprint:
            continue
        key = json.dumps(facts[0], sort_keys=True)
        if key not in found or facts[1] >= found[key][0]:
            found[key] = facts[1], facts[0], footer(store, item).metadata["run_id"]
    return [(partition, run_id) for _, partition, run_id in found.values()]


def remove_parts(parts: Parts, table: str, study_id: str, is_stale: Callable[[Mapping[str, Any]], bool]) -> None:
    """Remove parts of work that takes seconds to repeat. is_stale: whether a part goes, by its partition."""
    store = Store.at(parts)
    for item in _items(store, table, study_id):
        facts = _facts(store, item)
        if facts is not None and is_stale(facts[0]):
            store.delete(item.key)


def next_time(parts: Parts, table: str, study_id: str) -> datetime:
    """Time of writing of a new part: the present, or a microsecond after the latest part, those set aside included.

    A clock that is behind, or one that was ahead once, here or on another machine, thus changes no order. In a bucket
    the present is the store's, and no part counts as later than the store dates it, so that only the parts of the last
    seconds are looked at.
    """
    store = Store.at(parts)
    now = store.now()
    times = []
    for root in (store, store.below(RETIRED)):
        items = [item for item in root.list(f"{table}/{study_id}") if is_part_key(item.key)]
        if store.has_clock:
            items = [item for item in items if item.changed >= now - RECENT]
        times += [time for item in items if (time := _time_of(root, item)) is not None]
    return max([now, *(time + timedelta(microseconds=1) for time in times)])


def _time_of(store: Store, item: Item) -> datetime | None:
    """Time of writing of a part; None for a file that is not a part, or that another process moved meanwhile."""
    try:
        return store.bounded(footer(store, item).written_at, item)
    except (OSError, pa.ArrowException, KeyError, ValueError):
        return None


def check_rows(table: Table, rows: Rows, *, study_id: str, run_id: str) -> pa.Table:
    """The rows as an Arrow table with the contract's schema; raises UserError with table, row and column."""
    own = {"study_id": study_id, "run_id": run_id}
    arrow = _cast(table, _frame(table, rows, own))
    problems = Problems(table.name)
    for row, column, text in (*_value_problems(table, arrow, own), *_duplicates(table, arrow)):
        problems.add(text, row, column)
    problems.raise_any()
    return arrow


def _frame(table: Table, rows: Rows, own: Mapping[str, str]) -> pa.Table:
    """The rows as an Arrow table of the types that they have, with the part's own columns where they are left out."""
    if hasattr(rows, "__arrow_c_stream__"):
        frame = pa.table(rows)
        for name in own.keys() - {*frame.column_names}:
            frame = frame.append_column(name, pa.repeat(pa.scalar(own[name]), frame.num_rows))
        return frame
    if not rows:
        return table.schema.empty_table()
    filled = [{**own, **row} for row in rows]
    problems = Problems(table.name)
    for number, row in enumerate(filled, 1):
        if different := row.keys() ^ filled[0].keys():
            problems.add(f"its columns differ from row 1: {', '.join(sorted(different))}; give every row all", number)
    problems.raise_any()
    columns = {}
    for name in filled[0]:
        try:
            columns[name] = pa.array([row[name] for row in filled])
        except (pa.ArrowException, ValueError, OverflowError) as error:
            problems.add(f"{error}; give values of one type", column=name)
    problems.raise_any()
    return pa.table(columns)


def _cast(table: Table, frame: pa.Table) -> pa.Table:
    """The columns of the contract, in its order and types."""
    expected, given = table.schema.names, frame.column_names
    problems = Problems(table.name)
    for name in sorted({*expected} ^ {*given} | {name for name in given if given.count(name) > 1}):
        text = "missing; add it" if name not in given else "not in the contract, or given twice; remove it"
        problems.add(text, column=name)
    problems.raise_any()
    columns = []
    for field in table.schema:
        column = frame.column(field.name)
        try:
            if not _is_same_kind(column.type, field.type):
                raise pa.ArrowInvalid("another kind of value")
            columns.append(column.cast(field.type))
        except pa.ArrowException as error:
            problems.add(f"holds {column.type}, not {field.type} ({error}); convert it first", column=field.name)
    problems.raise_any()
    return pa.table(columns, schema=table.schema)


def _is_same_kind(given: pa.DataType, wanted: pa.DataType) -> bool:
    """True where a cast keeps each value: Arrow would also parse text and take 1.0 for a whole number."""
    if pt.is_null(given) or given == wanted:
        return True
    if pt.is_string(wanted):
        return pt.is_large_string(given) or pt.is_string_view(given)
    return (pt.is_integer(given) and not pt.is_boolean(wanted)) or (pt.is_floating(given) and pt.is_floating(wanted))


def _value_problems(table: Table, arrow: pa.Table, own: Mapping[str, str]) -> Iterator[tuple[int, str, str]]:
    """Row, column and text of each value that the contract does not allow."""
    for field in table.schema:
        column = arrow.column(field.name)
        if not field.nullable:
            for row in _rows_where(pc.is_null(column)):
                yield row, field.name, "is null; the contract wants a value in every row"
        if pt.is_floating(field.type):
            for row in _rows_where(pc.invert(pc.is_finite(column))):
                yield row, field.name, f"{column[row - 1].as_py()} is no number; leave it null"
        if field.name in own:
            for row in _rows_where(pc.not_equal(column, own[field.name])):
                text = f"{column[row - 1].as_py()!r} is not the part's own {own[field.name]!r}"
                yield row, field.name, f"{text}; write one part per study and run"


def _rows_where(mask: pa.ChunkedArray) -> list[int]:
    """Numbers, counted from 1, of the rows where the mask is true; null counts as false."""
    return [index + 1 for index in pc.indices_nonzero(mask.combine_chunks()).to_pylist()]


def _duplicates(table: Table, arrow: pa.Table) -> Iterator[tuple[int, str, str]]:
    numbered = arrow.select(list(table.key)).append_column("__row", pa.array(range(1, arrow.num_rows + 1), pa.int64()))
    groups = numbered.group_by(list(table.key)).aggregate([("__row", "min"), ("__row", "max"), ("__row", "count")])
    for group in groups.filter(pc.greater(groups["__row_count"], 1)).to_pylist():
        key = ", ".join(f"{name} {group[name]!r}" for name in table.key)
        text = f"{key} is already in row {group['__row_min']}; keep one row per key"
        yield group["__row_max"], ", ".join(table.key), text


def _partition_value(table: Table, arrow: pa.Table, name: str, study_id: str) -> Any:
    if name == "study_id":
        return study_id
    values = pc.unique(arrow.column(name)).to_pylist()
    if len(values) != 1:
        raise UserError(
            f"{table.name}: column {name}: a part has one value of it, these rows have {len(values)}; "
            "write one part per value"
        )
    return values[0]
