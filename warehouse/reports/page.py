"""The report: one offline HTML page of views, and each chart as a picture beside it."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import duckdb
import jinja2

from models_train import files
from models_train.errors import UserError
from warehouse.checksums import write_checksums
from warehouse.reports import CHARTS_FOLDER, PAGE_NAME, choices, export, labels, queries, theme, topics
from warehouse.reports.elements import Figure, Study, StudyPage
from warehouse.reports.tables import Table

_LEVELS = {"clear": "clear lead", "likely": "likely lead", "open": "not distinguishable", "alone": "only one"}


@dataclass(frozen=True)
class Report:
    """A written report: the page, the specification of each chart's picture, and the number of sections on the page."""

    path: Path
    charts: list[Path]
    n_sections: int


@dataclass(frozen=True)
class Composed:
    """A report before anything is written: its studies, each figure's specifications by name, the page as text."""

    pages: list[StudyPage]
    specs: dict[str, list[dict[str, Any]]]
    text: str


def build_report(
    connection: duckdb.DuckDBPyConnection, output_dir: Path, snapshot_id: str, created_at: datetime
) -> Report:
    """Write `base_model_choice.html` and `charts/<name>.json` into output_dir from the marts of connection.

    `export.draw_pictures` draws the pictures of the charts, which takes as long as the page. snapshot_id and created_at
    (with a time zone) are shown at the foot; equal arguments and marts give equal files. Every file is replaced whole,
    the page and then the checksums last. Raises UserError if there is no study, if created_at has no time zone, or if a
    mart is missing.
    """
    composed = compose(connection, snapshot_id, created_at)
    charts = export.write_specs(_figures(composed.pages), composed.specs, output_dir / CHARTS_FOLDER)
    path = output_dir / PAGE_NAME
    files.write_text(path, composed.text)
    write_checksums(output_dir, [path, *charts])
    return Report(path=path, charts=charts, n_sections=sum(len(page.sections) for page in composed.pages))


def compose(connection: duckdb.DuckDBPyConnection, snapshot_id: str, created_at: datetime) -> Composed:
    """The report of the marts of connection, without its pictures. Arguments and errors as of build_report."""
    if created_at.tzinfo is None:
        raise UserError(
            f"created_at {created_at.isoformat()} has no time zone: give one, for example datetime.now(UTC)"
        )
    found = queries.studies(connection).to_dicts()
    if not found:
        raise UserError("marts.dim_studies is empty, so there is nothing to report: load a study first")
    names = slugs([str(row["study_id"]) for row in found])
    pages = [study_page(connection, row, slug) for row, slug in zip(found, names, strict=True)]
    specs = {figure.name: export.panel_specs(figure) for figure in _figures(pages)}
    return Composed(pages, specs, render_page(pages, specs, snapshot_id, created_at))


def study_page(connection: duckdb.DuckDBPyConnection, row: dict[str, Any], slug: str) -> StudyPage:
    """All sections of a study; row: of queries.studies; slug begins the names of its figures and addresses."""
    study = Study.of(connection, row, slug)
    sections = topics.sections(study)
    shown = tuple(section.synthetic() if study.synthetic else section for section in sections)
    return StudyPage(study, shown, tuple(choice.record() for choice in choices.choices(study)))


def render_page(
    pages: list[StudyPage], specs: dict[str, list[dict[str, Any]]], snapshot_id: str, created_at: datetime
) -> str:
    """The whole page as text; specs are the panels' specifications by figure name.

    Everything from the data passes through Jinja's escaping, export.script_json or export.script_gzip.
    """
    style, script, bundle = _asset("page.css"), _asset("page.js"), export.vega_bundle()
    asked = [record for page in pages for record in page.choices]
    template = environment().get_template("page.html.j2")
    return template.render(
        pages=pages,
        specs={name: [export.script_gzip(export.page_spec(spec)) for spec in panels] for name, panels in specs.items()},
        policy=content_security_policy(style, [bundle, script]),
        style=style,
        script=script,
        bundle=bundle,
        choices=export.script_gzip(asked) if asked else "",
        themes=export.script_json({name: theme.config(name) for name in ("light", "dark")}),
        snapshot_id=snapshot_id,
        created_at=created_at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        charts_folder=CHARTS_FOLDER,
        levels=_LEVELS,
        explanations=labels.OBJECTIVE_EXPLANATIONS,
    )


def content_security_policy(style: str, scripts: list[str]) -> str:
    """The page's policy: only these very styles and scripts, no connection, image, font, frame or form."""
    allowed = " ".join(_hash(script) for script in scripts)
    return (
        f"default-src 'none'; script-src {allowed}; style-src {_hash(style)}; "
        "connect-src 'none'; base-uri 'none'; form-action 'none'"
    )


def slugs(names: list[str]) -> list[str]:
    """Distinct short names for studies, safe as file names, in order."""
    taken: list[str] = []
    for name in names:
        slug = labels.slug(name)
        number, candidate = 2, slug
        while candidate in taken:
            candidate, number = f"{slug}_{number}", number + 1
        taken.append(candidate)
    return taken


def _figures(pages: list[StudyPage]) -> list[Figure]:
    return [figure for page in pages for section in page.sections for figure in section.figures]


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def _asset(name: str) -> str:
    return resources.files("warehouse.reports").joinpath(name).read_text(encoding="utf-8")


@cache
def environment() -> jinja2.Environment:
    """The templates of this package, with what they call."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("warehouse", "reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["objective"] = labels.objective
    environment.tests["figure"] = lambda item: isinstance(item, Figure)
    environment.tests["table"] = lambda item: isinstance(item, Table)
    return environment
