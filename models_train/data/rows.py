"""Rows of one data file, each checked against the columns that are wanted."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from models_train.data.columns import Columns, Wrong, shown
from models_train.data.problems import Problems
from models_train.study.checks import near

SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet")
"""Ends of names of data files."""

Values = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """A checked row. file: the name for messages. number: from 1; of JSONL the line. values: by column."""

    file: str
    number: int
    values: Values


def checked_rows(path: Path, name: str, columns: Columns) -> Iterator[Row]:
    """The rows of a JSONL or Parquet file, as the columns' parsers return them; other columns are not read.

    Raises DataError with all problems of the file together, when its last row was read.
    """
    problems = Problems(name)
    read = _parquet_rows if path.name.endswith(".parquet") else _json_rows
    try:
        for number, found in read(path, columns, problems):
            values = _checked(found, number, columns, problems)
            if values is not None:
                yield Row(name, number, values)
    except (OSError, EOFError, pa.ArrowException) as error:
        problems.add(f"the file is damaged or of another kind ({error}); fetch or make it again")
    problems.raise_any()


def _checked(found: Mapping[str, Any], number: int, columns: Columns, problems: Problems) -> Values | None:
    values: Values = {}
    for name, column in columns.items():
        if found.get(name) is None and column.is_optional:
            values[name] = None
        elif name not in found:
            hint = near(name, list(found), "the row has")
            problems.add(f"missing; {hint}", number, name)
        else:
            try:
                values[name] = column.parse(found[name])
            except Wrong as wrong:
                problems.add(str(wrong), number, name)
    return values if len(values) == len(columns) else None


def _json_rows(path: Path, columns: Columns, problems: Problems) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Lines end with a line feed alone: other separators of Unicode may stand inside a text."""
    with pa.input_stream(str(path)) as stream:
        for number, line in enumerate(BufferedReader(stream), 1):
            if not line.strip():
                continue
            try:
                found = json.loads(line)
            except (ValueError, RecursionError) as error:
                problems.add(f"is not JSON ({error}); one row is one line of JSON: mend or remove it", number)
                continue
            if isinstance(found, dict):
                yield number, found
            else:
                problems.add(f"{shown(found)} is not a row; a row is {{column: value, ...}}", number)


def _parquet_rows(path: Path, columns: Columns, problems: Problems) -> Iterator[tuple[int, Mapping[str, Any]]]:
    with pq.ParquetFile(path) as file:
        there = file.schema_arrow.names
        missing = [name for name, column in columns.items() if name not in there and not column.is_optional]
        for name in missing:
            problems.add(f"missing; {near(name, there, 'the file has')}", column=name)
        if missing:
            return
        wanted = [name for name in columns if name in there]
        number = 0
        for batch in file.iter_batches(batch_size=1000, columns=wanted):
            for found in batch.to_pylist():
                number += 1
                yield number, found
