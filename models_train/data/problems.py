"""Everything that is wrong with a data file, told at once."""

from __future__ import annotations

MOST_SHOWN = 20


class DataError(ValueError):
    """Data cannot be used. The message names file, row (from 1), column, what is wrong and what to do."""


class Problems:
    """Problems of one file: the first 20 in words, the rest counted. name: how messages call the file."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._shown: list[str] = []
        self._count = 0

    def add(self, text: str, row: int | None = None, column: str | None = None) -> None:
        """Note a problem: what is wrong and what to do. row: counted from 1; of JSONL it is the line."""
        self._count += 1
        if len(self._shown) < MOST_SHOWN:
            places = [f"row {row}" if row is not None else "", f"column {column}" if column else ""]
            where = ", ".join(place for place in (self._name, *places) if place)
            self._shown.append(f"{where}: {text}")

    def raise_any(self) -> None:
        """Raise DataError where there is a problem."""
        if self._count:
            more = self._count - len(self._shown)
            raise DataError("\n".join(self._shown + ([f"{self._name}: and {more} more problems"] if more else [])))
