"""Errors for users: one class, one list of problems, one hint for misspelt names. Standard library only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches

MOST_LISTED = 20
"""Most problems that a message lists."""


class UserError(Exception):
    """An error that its reader can correct: the message says what is wrong, where, and what to do.

    Commands print the message without a traceback. A subclass exists only where its kind is caught apart.
    """


class Problems:
    """Problems of one input, reported together. name: of the input, as messages call it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._texts: list[str] = []  # at most MOST_LISTED: a large file may have a problem in every row
        self._count = 0

    def add(self, text: str, row: int | None = None, column: str | None = None) -> None:
        """Note what is wrong and what to do. row: counted from 1; in JSONL the line."""
        places = [f"row {row}" if row is not None else "", f"column {column}" if column else ""]
        where = ", ".join(place for place in (self._name, *places) if place)
        self._count += 1
        if self._count <= MOST_LISTED:
            self._texts.append(f"{where}: {text}")

    def raise_any(self) -> None:
        """Raise UserError if there is a problem."""
        if self._count:
            raise UserError("\n".join(listed(self._texts, self._name, total=self._count)))


def listed(texts: Sequence[str], name: str = "", most: int = MOST_LISTED, total: int | None = None) -> list[str]:
    """The first `most` texts, and a line that counts the others. total: number of all, where `texts` are only some."""
    shown = list(texts[:most])
    more = (len(texts) if total is None else total) - len(shown)
    if more:
        shown.append(f"{name}: and {more} more problems" if name else f"and {more} more")
    return shown


def close_match(name: str, known: Iterable[str], otherwise: str = "known are", most: int = 12) -> str:
    """A hint for a misspelt name: the nearest known one, or else the list of known names after `otherwise`."""
    names = [str(one) for one in known]
    near = get_close_matches(name, names, n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"{otherwise} {', '.join(names[:most])}{', ...' if len(names) > most else ''}"


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it came from, the innermost last; each once, also where they are a circle."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        yield error
        seen.append(error)
        error = error.__cause__ or error.__context__


def first_line(error: BaseException | str) -> str:
    """The first line of a library's message, without its final stop; the class's name where the message is empty."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
