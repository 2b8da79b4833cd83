"""Cells of the report's tables."""

from __future__ import annotations

from warehouse.reports import words
from warehouse.reports.pieces import Cell


def text(value: str, sort: str | None = None, note: str = "") -> Cell:
    """A name or a sentence, sorted by itself unless `sort` says otherwise."""
    return Cell(value, value if sort is None else sort, note=note)


def figure(
    value: float | None, digits: int = 1, *, signed: bool = False, best: bool = False, prefix: str = "", note: str = ""
) -> Cell:
    """A number with so many digits, sorted by its full value; a dash where there is none."""
    return Cell(prefix + words.number(value, digits, signed=signed), value, best, note)
