"""Rows -> contract -> one immutable Parquet part, written atomically.

Parts are the truth of the project; the warehouse is rebuilt from them. A part lies at
`<parts_dir>/<table>/<study_id>/<run_id>.parquet` and carries in its Parquet metadata who wrote it, when, and
for which contract. It appears under its name complete or not at all.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.types as pt

from warehouse.contracts import Table

Rows: TypeAlias = Sequence[Mapping[str, Any]] | pa.Table | Any
"""A list of dicts, an Arrow table, or any frame that speaks the Arrow C stream (Polars, pandas)."""

_SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_MOST_PROBLEMS = 20


class PartError(ValueError):
    """Rows do not fit the contract of their table. The message names table, row, column and remedy."""


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


def write_part(parts_dir: Path, table: Table, rows: Rows, *, study_id: str, run_id: str) -> Path:
    """Check `rows` against the contract and write them as one part; returns its path.

    The columns `study_id` and `run_id` may be left out of the rows: they are the part's own. A part of the
    same run is replaced, and its `written_at` is new. Raises PartError where the rows do not fit; then
    nothing is written.
    """
    for what, name in (("study_id", study_id), ("run_id", run_id)):
        if not _SAFE_NAME.fullmatch(name):
            raise PartError(
                f"{table.name}: {what} {name!r} cannot be part of a file name: "
                "use letters, digits, '_', '.' and '-' only"
            )
    checked = check_rows(table, rows, study_id=study_id, run_id=run_id)
    partition = {name: _partition_value(table, checked, name, study_id) for name in table.partition_by}
    metadata = {
        "rewardbase.table": table.name,
        "rewardbase.partition": json.dumps(partition),
        "rewardbase.run_id": run_id,
        "rewardbase.written_at": datetime.now(UTC).isoformat(timespec="microseconds"),
        "rewardbase.contract": table.fingerprint,
    }
    path = parts_dir / table.name / study_id / f"{run_id}.parquet"
    _write_atomically(checked.replace_schema_metadata(metadata), path)
    return path


def check_rows(table: Table, rows: Rows, *, study_id: str, run_id: str) -> pa.Table:
    """The rows as an Arrow table with the contract's schema; raises PartError naming what does not fit."""
    own = {"study_id": study_id, "run_id": run_id}
    if isinstance(rows, pa.Table) or hasattr(rows, "__arrow_c_stream__"):
        arrow = _from_frame(table, pa.table(rows), own)
    else:
        arrow = _from_dicts(table, rows, own)
    _raise(table, _value_problems(table, arrow, own))
    return arrow


def _from_dicts(table: Table, rows: Sequence[Mapping[str, Any]], own: Mapping[str, str]) -> pa.Table:
    names = table.schema.names
    filled = [{**{name: own[name] for name in own if name in names}, **row} for row in rows]
    _raise(table, _dict_problems(table, filled))
    columns, problems = [], []
    for field in table.schema:
        try:
            columns.append(pa.array([row[field.name] for row in filled], type=field.type))
        except (pa.ArrowException, ValueError, OverflowError) as error:
            problems.append(f"column {field.name}: cannot be {field.type} ({error}); mend the value")
    _raise(table, problems)
    return pa.table(columns, schema=table.schema)


def _dict_problems(table: Table, rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for number, row in enumerate(rows, 1):
        for text in _column_problems(table, list(row)):
            yield f"row {number}, {text}"
        for field in table.schema:
            value = row.get(field.name)
            if value is not None and not _accepts(field.type, value):
                yield (
                    f"row {number}, column {field.name}: {value!r} is a {type(value).__name__}; "
                    f"give a value of type {field.type}"
                )


def _accepts(kind: pa.DataType, value: Any) -> bool:
    """True where a Python value is of the column's own type: nothing is parsed, cut or rounded on the way."""
    if pt.is_boolean(kind):
        return isinstance(value, bool)
    if pt.is_integer(kind):
        return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
    if pt.is_floating(kind):
        return isinstance(value, int | float) and not isinstance(value, bool)
    if pt.is_string(kind):
        return isinstance(value, str)
    try:
        pa.scalar(value, type=kind)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return False
    return True


def _from_frame(table: Table, frame: pa.Table, own: Mapping[str, str]) -> pa.Table:
    for name, value in own.items():
        if name in table.schema.names and name not in frame.column_names:
            frame = frame.append_column(name, pa.repeat(pa.scalar(value), frame.num_rows))
    _raise(table, _column_problems(table, frame.column_names))
    columns, problems = [], []
    for field in table.schema:
        column = frame.column(field.name)
        try:
            if not _same_kind(column.type, field.type):
                raise pa.ArrowInvalid("another kind of value")
            columns.append(column.cast(field.type))
        except pa.ArrowException as error:
            problems.append(f"column {field.name}: holds {column.type}, not {field.type} ({error}); convert it first")
    _raise(table, problems)
    return pa.table(columns, schema=table.schema)


def _same_kind(given: pa.DataType, wanted: pa.DataType) -> bool:
    """True where a cast keeps every value what it is: text to text, integer to float, all-null to any."""
    if pt.is_null(given) or given == wanted:
        return True
    texts: tuple[Callable[[pa.DataType], bool], ...] = (pt.is_string, pt.is_large_string, pt.is_string_view)
    if pt.is_string(wanted):
        return any(is_text(given) for is_text in texts)
    if pt.is_integer(wanted):
        return pt.is_integer(given)
    if pt.is_floating(wanted):
        return pt.is_floating(given) or pt.is_integer(given)
    return False


def _column_problems(table: Table, names: Sequence[str]) -> Iterator[str]:
    expected = table.schema.names
    for name in dict.fromkeys(names):
        if list(names).count(name) > 1:
            yield f"column {name}: given more than once; keep one"
        if name not in expected:
            close = get_close_matches(str(name), expected, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"the contract has {', '.join(expected)}"
            yield f"column {name}: not in the contract; {hint}"
    for name in expected:
        if name not in names:
            yield f"column {name}: missing; add it (null is allowed only where the contract says so)"


def _value_problems(table: Table, arrow: pa.Table, own: Mapping[str, str]) -> Iterator[str]:
    for field in table.schema:
        column = arrow.column(field.name)
        if not field.nullable:
            for number in _rows_where(pc.is_null(column)):
                yield f"row {number}, column {field.name}: is null; the contract wants a value in every row"
        if pt.is_floating(field.type):
            for number in _rows_where(pc.invert(pc.is_finite(column))):
                value = column[number - 1].as_py()
                yield f"row {number}, column {field.name}: {value} is no number; leave it null"
        if field.name in own:
            for number in _rows_where(pc.not_equal(column, own[field.name])):
                value = column[number - 1].as_py()
                yield (
                    f"row {number}, column {field.name}: {value!r} is not the part's own "
                    f"{own[field.name]!r}; write one part per study and run"
                )
    yield from _duplicates(table, arrow)


def _rows_where(mask: pa.ChunkedArray) -> list[int]:
    """Numbers, counted from 1, of the rows where the mask is true; null counts as false."""
    return [index + 1 for index in pc.indices_nonzero(mask.combine_chunks()).to_pylist()[: _MOST_PROBLEMS + 1]]


def _duplicates(table: Table, arrow: pa.Table) -> Iterator[str]:
    numbered = arrow.select(list(table.key)).append_column("__row", pa.array(range(1, arrow.num_rows + 1), pa.int64()))
    groups = numbered.group_by(list(table.key)).aggregate([("__row", "min"), ("__row", "max"), ("__row", "count")])
    for group in groups.filter(pc.greater(groups["__row_count"], 1)).slice(0, _MOST_PROBLEMS + 1).to_pylist():
        key = ", ".join(f"{name} {group[name]!r}" for name in table.key)
        yield (
            f"row {group['__row_max']}, column {', '.join(table.key)}: {key} is already in row "
            f"{group['__row_min']}; keep one row per key"
        )


def _raise(table: Table, problems: Iterator[str] | Sequence[str]) -> None:
    found = list(problems)
    if not found:
        return
    shown = [f"{table.name}: {text}" for text in found[:_MOST_PROBLEMS]]
    if len(found) > _MOST_PROBLEMS:
        shown.append(f"{table.name}: and {len(found) - _MOST_PROBLEMS} more problems")
    raise PartError("\n".join(shown))


def _partition_value(table: Table, arrow: pa.Table, name: str, study_id: str) -> Any:
    if name == "study_id":
        return study_id
    values = pc.unique(arrow.column(name)).to_pylist()
    if len(values) != 1:
        raise PartError(
            f"{table.name}: column {name}: a part has one value of it, these rows have {len(values)}; "
            "write one part per value"
        )
    return values[0]


def _write_atomically(arrow: pa.Table, path: Path) -> None:
    """Write under another name in the folder, flush to disk, then rename: nobody reads half a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.stem}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        with temporary.open("wb") as file:
            pq.write_table(arrow, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
