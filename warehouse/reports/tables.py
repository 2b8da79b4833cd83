"""Tables: rows of data and a specification of each column.

`Table("errors", "All predictors", "...", rows, [Col("Predictor", "predictor"), Col("Error", "mae", POINTS)])`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from warehouse.reports import labels

Row = Mapping[str, Any]
MISSING = "–"


@dataclass(frozen=True)
class Format:
    """How the values of a column are written. kind: text, number (right-aligned), prose (whole sentences) or model.

    A column of kind model holds names of models: the search of the page filters rows by it.
    """

    write: Callable[[Any], str]
    kind: str = "text"


def decimals(digits: int, *, signed: bool = False) -> Format:
    """Numbers with a fixed number of digits after the point."""
    return Format(lambda value: labels.number(value, digits, signed=signed), "number")


TEXT = Format(str)
MODEL = Format(str, "model")
PROSE = Format(lambda text: labels.sentence(str(text)), "prose")
LIST = Format(lambda text: str(text) or MISSING, "prose")
OBJECTIVE = Format(labels.objective)
COUNT = decimals(0)
POINTS = decimals(1)
SIGNED = decimals(1, signed=True)
SHARE = Format(labels.percent, "number")
THOUSANDS = Format(lambda value: f"{value:,}", "number")
COMPACT = Format(lambda value: f"{value:g}", "number")
"""Formats: names, sentences, whole numbers, points with one digit, shares of 0 to 1 as a percentage, 1,000s, %g."""


@dataclass(frozen=True)
class Cell:
    """A written cell: text, the value that it sorts by (None: last), second line, whether it is the column's best."""

    text: str
    sort: float | str | None = None
    note: str = ""
    best: bool = False


@dataclass(frozen=True)
class Col:
    """One column. value: a key of the row, or a function of it.

    hint: explanation of the heading. note: second line of a cell. sort: value to sort by, if not the value itself.
    best: whether a cell is the best of its column. prefix: put before the written value.
    """

    heading: str
    value: str | Callable[[Row], Any]
    format: Format = TEXT
    hint: str = ""
    note: Callable[[Row], str] | None = None
    sort: Callable[[Row], float | str | None] | None = None
    best: Callable[[Row], bool] | None = None
    prefix: Callable[[Row], str] | None = None

    @property
    def kind(self) -> str:
        return self.format.kind

    def cell(self, row: Row) -> Cell:
        """The row's cell in this column; a missing value is a dash, which sorts last."""
        value = row[self.value] if isinstance(self.value, str) else self.value(row)
        text = MISSING if value is None else self.format.write(value)
        if self.prefix and value is not None:
            text = self.prefix(row) + text
        by = self.sort(row) if self.sort else value if self.kind == "number" or value is None else text
        return Cell(text, by, self.note(row) if self.note else "", bool(self.best and self.best(row)))


@dataclass(frozen=True)
class Table:
    """A sortable table; the first column is the heading of its row. empty: sentence shown if there are no rows."""

    name: str
    title: str
    caption: str
    rows: Sequence[Row]
    columns: Sequence[Col]
    empty: str = ""

    @property
    def cells(self) -> list[tuple[Cell, ...]]:
        """The written cells, row by row."""
        return [tuple(column.cell(row) for column in self.columns) for row in self.rows]

    @property
    def names_models(self) -> bool:
        """Whether a column holds models, by which the search of the page filters the rows."""
        return any(column.kind == "model" for column in self.columns)


def rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """The rows of a frame, as a table takes them."""
    return frame.to_dicts()


def extreme(
    pick: Callable[[Iterable[Any]], Any], found: Sequence[Row], key: str, among: str = ""
) -> Callable[[Row], bool]:
    """Whether a row has the largest (pick=max) or smallest (min) value of key; among: key of a flag it must have."""
    known = [row[key] for row in found if row[key] is not None and (not among or row[among])]
    best = pick(known) if known else None
    return lambda row: best is not None and row[key] == best and (not among or bool(row[among]))
