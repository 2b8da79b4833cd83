"""What a report is made of: plain records that know neither the database nor HTML."""

from __future__ import annotations

from dataclasses import dataclass

import altair as alt

AnyChart = alt.Chart | alt.LayerChart


@dataclass(frozen=True)
class Panel:
    """One drawing of a figure: its heading, what a screen reader says, and the chart without a width."""

    title: str
    label: str
    chart: AnyChart


@dataclass(frozen=True)
class Figure:
    """One captioned figure of one or more panels, exported as one picture called `name`.

    columns: panels side by side on a wide page; panel_width: width of a panel in the exported picture (px);
    key: how to read the marks, in one line, for the picture that stands without its caption;
    choice: the panels are alternatives, of which the reader picks one; empty: the sentence that stands here
    if there are no panels.
    """

    name: str
    title: str
    caption: str
    panels: tuple[Panel, ...]
    empty: str
    columns: int = 1
    panel_width: int = 460
    key: str = ""
    choice: bool = False


@dataclass(frozen=True)
class Cell:
    """A table cell: its text, the value it sorts by (None: last), whether it is the column's best, a second
    line.
    """

    text: str
    sort: float | str | None = None
    best: bool = False
    note: str = ""


@dataclass(frozen=True)
class Column:
    """A table column: heading, whether it holds numbers (right-aligned), and a longer explanation."""

    title: str
    numeric: bool = False
    hint: str = ""


@dataclass(frozen=True)
class Table:
    """A sortable table; the first cell of a row is its heading. empty: the sentence if there are no rows."""

    name: str
    title: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    empty: str


@dataclass(frozen=True)
class AnswerCard:
    """The answer for one size group under one objective. level: clear, likely, open or alone."""

    size_group: str
    model_id: str
    score: str
    gain: str
    level: str
    verdict: str


@dataclass(frozen=True)
class Section:
    """A section of a study: headlines, paragraphs, answer cards by objective, then figures and tables in
    order.

    headlines: (size group in words, model, what it gains).
    """

    key: str
    title: str
    paragraphs: tuple[str, ...] = ()
    answers: tuple[tuple[str, tuple[AnswerCard, ...]], ...] = ()
    items: tuple[Figure | Table, ...] = ()
    headlines: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True)
class StudyPage:
    """All sections of one study and where its figures come from."""

    slug: str
    study_id: str
    title: str
    source: str
    synthetic: bool
    sections: tuple[Section, ...]
    sources: tuple[dict[str, object], ...]
