"""Rows of a data file, JSONL or Parquet: wanted columns, allowed values, and the checked rows.

A parser of a column returns the value to use, or raises UserError with the problem and the remedy.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from io import BufferedReader
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from models_train.errors import Problems, UserError, close_match, first_line
from models_train.files import LFS_POINTER
from models_train.study.settings import shown

SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet")
"""Endings of the names of data files."""

MOST_NAMED = 12
"""Most columns that a message names."""

_BEGINNINGS = (
    (LFS_POINTER, "is a pointer of Git LFS, not the data; run `git lfs pull` in its clone"),
    (b"version https://hawser", "is a pointer of Git LFS, not the data; run `git lfs pull` in its clone"),
    (b"/annex/objects/", "is a pointer of git-annex, not the data; run `git annex get` in its clone"),
    (b"<!DOCTYPE", "is a web page, not the data; fetch the file itself"),
    (b"<!doctype", "is a web page, not the data; fetch the file itself"),
    (b"<html", "is a web page, not the data; fetch the file itself"),
    (b"\xff\xfe", "is text in UTF-16, not in UTF-8; convert it: `iconv -f UTF-16 -t UTF-8`"),
    (b"\xfe\xff", "is text in UTF-16, not in UTF-8; convert it: `iconv -f UTF-16 -t UTF-8`"),
    (b"{\0", "is text in UTF-16, not in UTF-8; convert it: `iconv -f UTF-16LE -t UTF-8`"),
    (b"\0{", "is text in UTF-16, not in UTF-8; convert it: `iconv -f UTF-16BE -t UTF-8`"),
)
"""First bytes of files of other kinds, what they are, and what to do."""
_COMPRESSED = ((b"\x1f\x8b", ".jsonl.gz"), (b"\x28\xb5\x2f\xfd", ".jsonl.zst"), (b"PAR1", ".parquet"))
"""First bytes of sound data files, and the ending of their names."""
_LONG_WINDOW = "too much memory"
"""Words of zstd's message for a window that is longer than it may be by default."""

Parser = Callable[[Any], Any]
Values = dict[str, Any]


class WrongForm(UserError):
    """A column of another form than the wanted one: reported once per file, whose other rows will be the same."""


class LeftOut(Exception):
    """A sound row that cannot be used. The message is the reason, by which such rows are counted."""


@dataclass(frozen=True)
class Column:
    """A column of a data set. An optional one may be missing, and is None then."""

    parse: Parser
    is_optional: bool = False


Columns = Mapping[str, Column]


@dataclass(frozen=True)
class Form:
    """Columns that rows may have. values: makes the wanted values of the columns'; raises LeftOut, UserError."""

    columns: Columns
    values: Callable[[Values], Values] = dict

    @property
    def needed(self) -> list[str]:
        """Names of the columns that may not be missing."""
        return [name for name, column in self.columns.items() if not column.is_optional]


@dataclass(frozen=True)
class Row:
    """A checked row. file: the name for messages. number: from 1; of JSONL the line.

    values: by name. left_out: the reason why a row cannot be used; it has no values. name: the file's name in its data
    set.
    """

    file: str
    number: int
    values: Values
    name: str = ""
    left_out: str | None = None


def checked_rows(path: Path, name: str, forms: Sequence[Form]) -> Iterator[Row]:
    """The rows of a JSONL or Parquet file in the first form whose columns are there; other columns are not read.

    The columns of JSONL are those of its first row. Raises UserError with all problems of the file together, after its
    last row.
    """
    problems = Problems(name)
    try:
        with path.open("rb") as file:
            kind = other_kind(file.read(64), path.name)
        if kind is not None:
            problems.add(kind)
            problems.raise_any()
        read = _parquet_rows if path.name.endswith(".parquet") else _json_rows
        told: set[str] = set()
        for form, number, found in read(path, forms, problems):
            row = _checked(found, Row(name, number, {}), form, problems, told)
            if row is not None:
                yield row
    except (OSError, EOFError, pa.ArrowException) as error:
        problems.add(damage(error))
    problems.raise_any()


def checked_records(records: Iterable[tuple[int, Any]], name: str, forms: Sequence[Form]) -> Iterator[Row]:
    """As `checked_rows`, of rows with their numbers that were read before. name: of the file, for messages."""
    problems = Problems(name)
    told: set[str] = set()
    form = None
    for number, found in records:
        if not isinstance(found, dict):
            problems.add(f"{shown(found)} is not a row; a row is {{column: value, ...}}", number)
            continue
        form = form or _form(found, forms, problems, number)
        if form is None:
            break
        row = _checked(found, Row(name, number, {}), form, problems, told)
        if row is not None:
            yield row
    problems.raise_any()


def other_kind(beginning: bytes, file_name: str = "") -> str | None:
    """What a file is that begins so, and what to do, where it is no data file of its name; else None."""
    start = beginning.removeprefix(b"\xef\xbb\xbf").lstrip(b" \r\n")
    for known, text in _BEGINNINGS:
        if start.startswith(known):
            return text
    for known, ending in _COMPRESSED:
        if start.startswith(known) and file_name and not file_name.endswith(ending):
            return f"is not what its name says; give it a name that ends with {ending}"
    return None


def damage(error: Exception) -> str:
    if _LONG_WINDOW in str(error):
        return (
            "was packed with a longer window than 128 MiB (`zstd --long`); pack it again without it: "
            "`zstd -d --long=31 -c <file> | zstd -o <new file>`"
        )
    return f"the file is damaged or of another kind ({first_line(error)}); fetch or make it again"


def _checked(found: Mapping[str, Any], row: Row, form: Form, problems: Problems, told: set[str]) -> Row | None:
    """The row with its values, or None for one with a problem. told: problems of the file that are reported already."""
    values: Values = {}
    for name, column in form.columns.items():
        if found.get(name) is None and column.is_optional:
            values[name] = None
        elif name not in found:
            _add_once(f"missing; {close_match(name, found, 'the row has')}", problems, row, name, told)
        else:
            try:
                values[name] = column.parse(found[name])
            except WrongForm as refused:
                _add_once(str(refused), problems, row, name, told)
            except UserError as refused:
                problems.add(str(refused), row.number, name)
    if len(values) < len(form.columns):
        return None
    try:
        return replace(row, values=form.values(values))
    except LeftOut as reason:
        return replace(row, left_out=str(reason))
    except WrongForm as refused:
        _add_once(str(refused), problems, row, None, told)
    except UserError as refused:
        problems.add(str(refused), row.number)
    return None


def _add_once(text: str, problems: Problems, row: Row, column: str | None, told: set[str]) -> None:
    """Add a problem that has not been reported of this column; in many files each row would have it."""
    kind = f"{column} {text.split(';')[0]}"
    if kind not in told:
        problems.add(text, row.number, column)
        told.add(kind)


def _form(there: Iterable[str], forms: Sequence[Form], problems: Problems, row: int | None = None) -> Form | None:
    """The first form whose columns are there."""
    names = list(there)
    for form in forms:
        if set(form.needed) <= set(names):
            return form
    nearest = max(forms, key=lambda form: len(set(form.needed) & set(names)) / len(form.needed))
    missing = [name for name in nearest.needed if name not in names]
    wanted = "; or ".join(", ".join(form.needed) for form in forms)
    has = f"{'the file' if row is None else 'the row'} has {', '.join(names[:MOST_NAMED])}"
    problems.add(
        f"missing; {has}{', ...' if len(names) > MOST_NAMED else ''}; wanted are {wanted}", row, ", ".join(missing)
    )
    return None


Found = Iterator[tuple[Form, int, Mapping[str, Any]]]


def _json_rows(path: Path, forms: Sequence[Form], problems: Problems) -> Found:
    form = None
    with pa.input_stream(str(path)) as stream:
        lines = BufferedReader(stream)
        if (kind := other_kind(lines.peek(64)[:64])) is not None:
            problems.add(kind)
            return
        # Only a line feed ends a line: other line separators of Unicode may occur inside a text.
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                found = json.loads(line)
            except (ValueError, RecursionError) as error:
                problems.add(f"is not JSON ({error}); one row is one line of JSON: correct or remove it", number)
                continue
            if not isinstance(found, dict):
                problems.add(f"{shown(found)} is not a row; a row is {{column: value, ...}}", number)
                continue
            form = form or _form(found, forms, problems, number)
            if form is None:
                return
            yield form, number, found


def _parquet_rows(path: Path, forms: Sequence[Form], problems: Problems) -> Found:
    with pq.ParquetFile(path) as file:
        there = file.schema_arrow.names
        form = _form(there, forms, problems)
        if form is None:
            return
        wanted = [name for name in form.columns if name in there]
        number = 0
        for batch in file.iter_batches(batch_size=1000, columns=wanted):
            for found in batch.to_pylist():
                number += 1
                yield form, number, found


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
        remedy = "put it in quotes" if isinstance(value, int | float) else "give it a text"
        raise UserError(f"{shown(value)} is not text; {remedy}, or remove the row")
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
