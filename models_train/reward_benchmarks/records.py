"""Records of files of benchmarks and scores: JSON as a list of rows or as columns, JSONL, Parquet.

JSON may be packed by gzip or zstd. What a file is, its content tells: score files carry all kinds of names.
"""

from __future__ import annotations

import ast
import gzip
import json
import math
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from models_train.data.rows import SUFFIXES, WrongForm, damage, other_kind, text
from models_train.data.sources import Source, file_label
from models_train.errors import Problems, UserError, first_line
from models_train.study.settings import shown

ENDINGS = (".json", ".json.gz", ".json.zst", *SUFFIXES)
"""Endings of the names of files with records."""
LONGEST_LITERAL = 10_000_000
"""Longest text that is read as a list, in characters."""

_NO_RECORDS = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json", "config.json")
"""Files that data sets and models have beside their data."""
Records = list[tuple[int, Any]]
"""Rows with their numbers, from 1; of JSONL the line."""


def record_files(source: Source) -> list[str]:
    """Names of a data set's files with records, sorted; of a single file its name, whatever it is. Raises UserError."""
    names = source.all_names()
    found = sorted(name for name in names if name.endswith(ENDINGS) and name.rpartition("/")[2] not in _NO_RECORDS)
    if not found and len(names) == 1 and file_label(source, names[0]) == source.label:
        return names
    if not found:
        there = f"; there is {', '.join(sorted(names)[:5])}" if names else ""
        raise UserError(
            f"{source.label}: no file with records, which ends with {', '.join(ENDINGS)}{there}; correct the path or "
            "hub_id, or convert the data"
        )
    return found


def read_records(path: Path, name: str) -> Records:
    """The rows of a file. name: of the file, for messages. Raises UserError."""
    try:
        content = path.read_bytes()
        if content.startswith(b"PAR1"):
            return list(enumerate(pq.read_table(BytesIO(content)).to_pylist(), 1))
        if content.startswith(b"\x1f\x8b"):
            content = gzip.decompress(content)
        elif content.startswith(b"\x28\xb5\x2f\xfd"):
            content = pa.CompressedInputStream(pa.BufferReader(content), "zstd").read()
    except (OSError, EOFError, pa.ArrowException) as error:
        raise UserError(f"{name}: {damage(error)}") from None
    if kind := other_kind(content[:64]):
        raise UserError(f"{name}: {kind}")
    try:
        said = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{name}: is neither Parquet nor text in UTF-8; convert it to JSON, JSONL or Parquet") from None
    if not said.strip():
        raise UserError(f"{name}: is empty; fetch or make it again")
    return _of_json(said, name)


def _of_json(said: str, name: str) -> Records:
    try:
        document = json.loads(said)
    except (ValueError, RecursionError) as error:
        if said.lstrip().startswith("[") and not _is_json(said.strip().splitlines()[0]):
            raise UserError(f"{name}: is not JSON ({first_line(error)}); fetch or make it again") from None
        return _of_lines(said, name)
    if isinstance(document, list):
        return list(enumerate(document, 1))
    if not isinstance(document, dict):
        raise UserError(f"{name}: {shown(document)} is no list of rows; give rows of {{column: value, ...}}")
    if isinstance(document.get("id"), list):
        return _of_columns(document, name)
    return [(1, document)]


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _of_lines(said: str, name: str) -> Records:
    records: Records = []
    problems = Problems(name)
    # Only a line feed ends a line: other line separators of Unicode may occur inside a text.
    for number, line in enumerate(said.split("\n"), 1):
        if line.strip():
            try:
                records.append((number, json.loads(line)))
            except (ValueError, RecursionError) as error:
                problems.add(f"is not JSON ({error}); one row is one line of JSON: correct or remove it", number)
    if not records:
        raise UserError(f"{name}: is neither JSON, JSONL nor Parquet; convert it")
    problems.raise_any()
    return records


def _of_columns(document: Mapping[str, Any], name: str) -> Records:
    """Rows of a file of columns; values that are no lists, such as the model's name, hold for every row."""
    lengths = {column: len(values) for column, values in document.items() if isinstance(values, list)}
    n_rows = lengths.get("id", 0)
    for column, n in lengths.items():
        if n != n_rows:
            raise UserError(f"{name}: column {column} has {n:,} values, and id {n_rows:,}; make the file again")
    return [
        (number + 1, {column: values[number] if column in lengths else values for column, values in document.items()})
        for number in range(n_rows)
    ]


def as_list(value: Any) -> list[Any]:
    """A list, also where it is written as text, in JSON or as a Python literal."""
    if isinstance(value, str) and len(value) <= LONGEST_LITERAL and value.strip().startswith(("[", "(")):
        value = _literal(value.strip())
    if not isinstance(value, list | tuple):
        raise UserError(f"{shown(value)} is no list; correct the row, or remove it")
    return list(value)


def _literal(said: str) -> Any:
    for read in (json.loads, ast.literal_eval):
        try:
            return read(said)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return said


def list_of(parse: Callable[[Any], Any], what: str) -> Callable[[Any], list[Any]]:
    """Parser of lists, whose entries `parse` reads. what: an entry, for messages."""

    def read(value: Any) -> list[Any]:
        found = []
        for place, one in enumerate(as_list(value), 1):
            try:
                found.append(parse(one))
            except UserError as error:
                raise type(error)(f"{what} {place}: {error}") from None
        return found

    return read


texts = list_of(text, "text")
"""Parser of a list of texts."""


def reward(value: Any) -> float:
    """A finite number; also a list of one, as some reward models give it."""
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, list):
        raise WrongForm(f"is a list of {len(value)} values; a completion has one reward: choose one, or merge them")
    if value is None:
        raise UserError("has no reward; score it again, or take the item out of the file")
    if isinstance(value, str):
        raise UserError(f"{shown(value)} is text; write the reward as a number, without quotes")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"{shown(value)} is no number; correct it, or take the item out of the file")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise UserError(f"{shown(value)} is not a finite number; score it again, or take the item out of the file")
    return number


rewards = list_of(reward, "score")
"""Parser of a list of rewards."""
