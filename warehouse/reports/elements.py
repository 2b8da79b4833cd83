"""Elements of a report: a study, its sections, and what a section shows. They know no HTML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import altair as alt
import duckdb
import polars as pl

from warehouse.reports import labels, queries
from warehouse.reports.labels import ScoreBasis
from warehouse.reports.tables import Table

AnyChart = alt.Chart | alt.LayerChart


@dataclass(frozen=True)
class Study:
    """One study of the warehouse, as the topics read it; slug begins the names of its figures and tables."""

    connection: duckdb.DuckDBPyConnection
    study_id: str
    title: str
    source: str
    synthetic: bool
    slug: str

    @classmethod
    def of(cls, connection: duckdb.DuckDBPyConnection, row: Mapping[str, Any], slug: str) -> Self:
        """A study of a row of queries.studies."""
        return cls(
            connection=connection,
            study_id=str(row["study_id"]),
            title=str(row["title"]),
            source=str(row["source"]),
            synthetic=bool(row["synthetic"]),
            slug=slug,
        )

    @cached_property
    def basis(self) -> ScoreBasis:
        """What the study's scores are."""
        return queries.score_basis(self.connection, self.study_id)

    def read(
        self,
        mart: str,
        columns: str,
        order: str,
        where: Mapping[str, str | bool] | None = None,
        *,
        optional: bool = False,
    ) -> pl.DataFrame:
        """The study's rows of a mart; arguments and errors as of `queries.read`."""
        return queries.read(
            self.connection, mart, columns, {"study_id": self.study_id, **(where or {})}, order, optional=optional
        )

    def name(self, what: str, objective: str = "") -> str:
        """Name of a figure or table, unique on the page and safe as a file name."""
        return "_".join([self.slug, what, *([labels.slug(objective)] if objective else [])])


@dataclass(frozen=True)
class Panel:
    """One drawing of a figure: heading, description for a screen reader, and the chart without a width."""

    title: str
    label: str
    chart: AnyChart


@dataclass(frozen=True)
class Figure:
    """A captioned figure of one or more panels, exported as one picture called `name`.

    columns: panels side by side on a wide page; panel_width: width of a panel in the exported picture, in pixels;
    key: how to read the marks, in one line, for the picture without its caption; choice: the panels are alternatives,
    of which the reader picks one, each called a `choice_label`; empty: sentence shown if there are no panels.
    """

    name: str
    title: str
    caption: str
    panels: tuple[Panel, ...]
    empty: str = ""
    columns: int = 1
    panel_width: int = 460
    key: str = ""
    choice: bool = False
    choice_label: str = "Accuracy"


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
    """One error on a trust card: predictor, protocol, value in points, and its interval as text.

    kind: `in-sample` (too small), `out-of-fold`, or `baseline` (out of fold too).
    """

    predictor: str
    protocol: str
    value: str
    interval: str
    kind: str


@dataclass(frozen=True)
class TrustCard:
    """How far the prediction of one objective can be trusted. level: beaten, hindsight, none or unknown."""

    objective: str
    level: str
    verdict: str
    figures: tuple[TrustFigure, ...]
    details: tuple[str, ...]


@dataclass(frozen=True)
class Section:
    """One view of a study: headlines, paragraphs, trust cards, answer cards by objective, figures and tables.

    headlines: (size group or benchmark, model, gain or figure as text), for the start view too.
    """

    key: str
    title: str
    paragraphs: tuple[str, ...] = ()
    items: tuple[Figure | Table, ...] = ()
    headlines: tuple[tuple[str, str, str], ...] = ()
    answers: tuple[tuple[str, tuple[AnswerCard, ...]], ...] = ()
    trust: tuple[TrustCard, ...] = ()

    @property
    def figures(self) -> tuple[Figure, ...]:
        """The figures that have something to draw."""
        return tuple(item for item in self.items if isinstance(item, Figure) and item.panels)

    def synthetic(self) -> Section:
        """The section of a synthetic study: each figure says so, also as a picture apart from the page."""
        items = [
            replace(item, caption=f"Synthetic data. {item.caption}", key=f"Synthetic data. {item.key}".rstrip())
            if isinstance(item, Figure)
            else item
            for item in self.items
        ]
        return replace(self, items=tuple(items))


@dataclass(frozen=True)
class StudyPage:
    """All sections of one study. choices: records of the reader's questions, with their answers."""

    study: Study
    sections: tuple[Section, ...]
    choices: tuple[dict[str, Any], ...] = ()
