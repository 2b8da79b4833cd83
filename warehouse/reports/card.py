"""The answer card: one question with its answer as a picture, PNG or PDF, to be passed on."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import vl_convert

from models_train import files
from models_train.errors import UserError
from warehouse.reports.choices import Choice, Place
from warehouse.reports.page import environment

WIDTH, LEFT, REACH = 1000, 440, 512
"""Width of the card, left end and width of its bars, in pixels."""
DRAW: dict[str, Callable[[str], bytes]] = {
    ".png": lambda svg: vl_convert.svg_to_png(svg, scale=2.0),
    ".pdf": vl_convert.svg_to_pdf,
}
"""How each kind of file is drawn."""
_TEXT, _QUIET, _NOTICE = "#1c2128", "#59636e", "#b34a00"
_MOST_LETTERS = 46
"""Letters of a name beside a bar."""


@dataclass(frozen=True)
class Line:
    """A line of text. y: its base line, in pixels from the top. size: of the letters, in pixels."""

    text: str
    y: int
    size: int
    weight: str
    fill: str


@dataclass(frozen=True)
class Bar:
    """A place of the ranking. y: top, in pixels; low, value, high: from the left, in pixels."""

    name: str
    text: str
    y: int
    low: float | None
    value: float
    high: float | None


def card(choice: Choice, foot: str) -> str:
    """The card of a choice as SVG. foot: study, snapshot and date."""
    lines: list[Line] = []
    y = 52

    def write(text: str, size: int, weight: str = "normal", fill: str = _TEXT, after: int = 8) -> None:
        nonlocal y
        # Letters of a sans-serif face are about half as wide as high; bold ones wider.
        letters = int((WIDTH - 96) / (size * (0.56 if weight == "normal" else 0.62)))
        for part in textwrap.wrap(text, letters) or [""]:
            y += size
            lines.append(Line(part, y, size, weight, fill))
            y += round(size * 0.35)
        y += after

    write("REWARDBASE", 15, "bold", _QUIET)
    write(choice.question, 24)
    write(choice.pick or "No recommendation", 44, "bold", after=2)
    if choice.figure:
        write(("Score " if choice.unit == "score" else "") + choice.figure, 20, "bold")
    if choice.is_synthetic:
        write("Synthetic data: the figures say nothing about real models.", 18, "bold", _NOTICE)
    for text in (choice.sure, choice.why):
        if text:
            write(text, 18)
    bars = _bars(choice.places, y + 8) if len(choice.places) > 1 else []
    y = bars[-1].y + 52 if bars else y
    write(foot, 13, fill=_QUIET)
    template = environment().get_template("card.svg.j2")
    return template.render(width=WIDTH, height=y + 12, lines=lines, bars=bars, left=LEFT, reach=REACH)


def _bars(places: tuple[Place, ...], top: int) -> list[Bar]:
    ends = [end for place in places for end in (place.low, place.value, place.high) if end is not None]
    least, most = min(ends, default=0.0), max(ends, default=1.0)

    def at(value: float) -> float:
        return LEFT + REACH * (0.03 + 0.94 * (value - least) / ((most - least) or 1.0))

    return [
        Bar(
            textwrap.shorten(place.name, _MOST_LETTERS, placeholder="..."),
            place.text,
            top + 48 * number,
            None if place.low is None or place.high is None else at(place.low),
            at(place.value),
            None if place.low is None or place.high is None else at(place.high),
        )
        for number, place in enumerate(place for place in places if place.value is not None)
        if place.value is not None
    ]


def write_card(svg: str, path: Path) -> None:
    """Write a card; the ending of path says whether as PNG, PDF or SVG. Raises UserError for another ending."""
    ending = path.suffix.lower()
    if ending == ".svg":
        files.write_text(path, svg)
        return
    if ending not in DRAW:
        raise UserError(f"{path.name}: a card is written as .png, .pdf or .svg; give one of these endings")
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.atomic_path(path) as beside:
        beside.write_bytes(DRAW[ending](svg))
