"""Rows of a data file, JSONL or Parquet: wanted columns, allowed values, and the checked rows.

A parser of a column returns the value to use, or raises UserError with the problem and the remedy.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from models_train.data.records import Prompt, Role, Turn
from models_train.errors import Problems, UserError, close_match
from models_train.study.settings import shown

SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet")
"""Endings of the names of data files."""
_TURN_MARK = re.compile(r"\n<extra_id_1>(Assistant|User)\n")

Parser = Callable[[Any], Any]
Values = dict[str, Any]


@dataclass(frozen=True)
class Column:
    """A column of a data set. An optional one may be missing, and is None then."""

    parse: Parser
    is_optional: bool = False


Columns = Mapping[str, Column]


@dataclass(frozen=True)
class Row:
    """A checked row. file: the name for messages. number: from 1; of JSONL the line. values: by column."""

    file: str
    number: int
    values: Values


def checked_rows(path: Path, name: str, columns: Columns) -> Iterator[Row]:
    """The rows of a JSONL or Parquet file, as the columns' parsers return them; other columns are not read.

    Raises UserError with all problems of the file together, after its last row.
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
            problems.add(f"missing; {close_match(name, found, 'the row has')}", number, name)
        else:
            try:
                values[name] = column.parse(found[name])
            except UserError as refused:
                problems.add(str(refused), number, name)
    return values if len(values) == len(columns) else None


def _json_rows(path: Path, columns: Columns, problems: Problems) -> Iterator[tuple[int, Mapping[str, Any]]]:
    with pa.input_stream(str(path)) as stream:
        # Only a line feed ends a line: other line separators of Unicode may occur inside a text.
        for number, line in enumerate(BufferedReader(stream), 1):
            if not line.strip():
                continue
            try:
                found = json.loads(line)
            except (ValueError, RecursionError) as error:
                problems.add(f"is not JSON ({error}); one row is one line of JSON: correct or remove it", number)
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
            problems.add(f"missing; {close_match(name, there, 'the file has')}", column=name)
        if missing:
            return
        wanted = [name for name in columns if name in there]
        number = 0
        for batch in file.iter_batches(batch_size=1000, columns=wanted):
            for found in batch.to_pylist():
                number += 1
                yield number, found


def is_unicode(value: str) -> bool:
    """True where a text can be written as UTF-8."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def text(value: Any) -> str:
    """Any text that can be written as UTF-8; empty text, too."""
    if value is None:
        raise UserError("is null; give it a text, or remove the row")
    if not isinstance(value, str):
        raise UserError(f"{shown(value)} is not text; put it in quotes, or remove the row")
    if not is_unicode(value):
        raise UserError("holds half a character (a lone surrogate); correct the text, or remove the row")
    return value


def filled_text(value: Any) -> str:
    """Text with something in it; blanks are kept."""
    if not text(value).strip():
        raise UserError("is empty; fill it in, or remove the row")
    return str(value)


def whole_number(lowest: int, highest: int) -> Parser:
    """Parser of whole numbers of a range, both ends included; 3.0 is one."""

    def parse(value: Any) -> int:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or value != value or value % 1 or not lowest <= value <= highest:
            raise UserError(
                f"{shown(value)} is not a whole number from {lowest} to {highest}; correct it, or remove the row"
            )
        return int(value)

    return parse


def marked_prompt(value: Any) -> Prompt:
    """HelpSteer2's prompt: turns joined by `\\n<extra_id_1>Assistant\\n` and `\\n<extra_id_1>User\\n`.

    The first turn is the user's, turns alternate, the last is the user's. Turns of earlier rounds may be empty.
    """
    first, *rest = _TURN_MARK.split(filled_text(value))
    turns = [Turn("user", first)]
    for who, said in zip(rest[::2], rest[1::2], strict=True):
        turns.append(Turn("assistant" if who == "Assistant" else "user", said))
    return _conversation(tuple(turns))


def plain_or_turns(value: Any) -> Prompt:
    """RewardBench's prompt: plain text is one turn of the user; or a list of {role, content}."""
    if isinstance(value, str):
        return (Turn("user", filled_text(value)),)
    if not isinstance(value, list) or not value:
        raise UserError(f"{shown(value)} is neither text nor a list of turns; correct it, or remove the row")
    return _conversation(tuple(_turn(number, turn) for number, turn in enumerate(value, 1)))


def _turn(number: int, value: Any) -> Turn:
    if not isinstance(value, Mapping) or value.get("role") not in get_args(Role):
        raise UserError(f"turn {number} has no role of user, assistant or system; give it one, or remove the row")
    return Turn(value["role"], text(value.get("content")))


def _conversation(turns: Prompt) -> Prompt:
    spoken = [turn.role for turn in turns if turn.role != "system"]
    if spoken != (["user", "assistant"] * len(spoken))[: len(spoken)] or not spoken or turns[-1].role != "user":
        roles = ", ".join(turn.role for turn in turns)
        raise UserError(
            f"its turns are {shown(roles)}; they must alternate, begin with the user and end with the user: correct "
            "the turns, or remove the row"
        )
    if not any(turn.text.strip() for turn in turns):
        raise UserError("is empty; fill it in, or remove the row")
    return turns
