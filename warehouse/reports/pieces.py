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
    choice: the panels are alternatives, of which the reader picks one, each called a `choice_label`; empty: the
    sentence that stands here if there are no panels.
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
    choice_label: str = "Accuracy"


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
    """A table column: heading, whether it holds numbers (right-aligned) or whole sentences, and an explanation."""

    title: str
    numeric: bool = False
    hint: str = ""
    prose: bool = False


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
class TrustFigure:
    """One error on a trust card: of which predictor, by which protocol, in points, and its interval in words.

    kind: `in-sample` (flatters), `out-of-fold`, or `baseline` (out of fold too).
    """

    predictor: str
    protocol: str
    value: str
    interval: str
    kind: str


@dataclass(frozen=True)
class TrustCard:
    """How far the prediction of one objective can be trusted; level as of verdict.Verdict."""

    objective: str
    level: str
    verdict: str
    figures: tuple[TrustFigure, ...]
    details: tuple[str, ...]


@dataclass(frozen=True)
class Section:
    """A section of a study: headlines, trust cards, paragraphs, answer cards by objective, figures and tables.

    headlines: (size group in words, model, what it gains).
    """

    key: str
    title: str
    paragraphs: tuple[str, ...] = ()
    answers: tuple[tuple[str, tuple[AnswerCard, ...]], ...] = ()
    items: tuple[Figure | Table, ...] = ()
    headlines: tuple[tuple[str, str, str], ...] = ()
    trust: tuple[TrustCard, ...] = ()


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
