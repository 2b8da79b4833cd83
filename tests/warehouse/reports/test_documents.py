"""The report of a study that scored documents: distributions, distances, bits per byte; else no such section."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import altair as alt
import duckdb
import polars as pl
import pytest
import vl_convert

from tests.support.document_database import write_document_marts
from tests.support.marts_database import study_of
from warehouse.reports import export, page, queries, theme
from warehouse.reports.elements import Figure, StudyPage
from warehouse.reports.topics import documents

pytestmark = pytest.mark.slow

CREATED = datetime(2025, 5, 16, 12, 30, tzinfo=UTC)
HOSTILE = "</script><script>alert(1)</script>'\"&"
READERS = {
    documents.presence_by_domain: "fct_presence_by_domain",
    lambda study: documents.distributions(study, documents.presence_by_domain(study)): (
        "fct_presence_score_distributions"
    ),
    documents.distances: "fct_jensen_shannon_distances",
}
Make = Callable[..., duckdb.DuckDBPyConnection]


@pytest.fixture(scope="module")
def make(builder: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Builds a database of one study with document scores of its first models; the caller closes it."""

    def build(n_models: int = 4, suffix: str = "", **options: Any) -> duckdb.DuckDBPyConnection:
        study = builder.small_study("lab", suffix=suffix, per_group=3)
        path = builder.write_marts(tmp_path_factory.mktemp("documents") / "w.duckdb", [study])
        names = study.models["model_id"].to_list()
        connection = duckdb.connect(str(path))
        chosen = names[:n_models] + [f"more {number:02d}" for number in range(n_models - len(names))]
        write_document_marts(connection, "lab", chosen, **options)
        return connection

    return build


def written(connection: duckdb.DuckDBPyConnection) -> StudyPage:
    return page.study_page(connection, queries.studies(connection).row(0, named=True), "lab")


def distributions(connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    study = study_of(connection, "lab")
    return documents.distributions(study, documents.presence_by_domain(study))


def figures_of(study: StudyPage) -> dict[str, Figure]:
    mine = next(part for part in study.sections if part.key == "documents")
    return {item.name: item for item in mine.items if isinstance(item, Figure)}


def plain(study: StudyPage) -> str:
    """The section as a reader sees it: without markup and scripts."""
    figures = [item for part in study.sections for item in part.items if isinstance(item, Figure)]
    text = page.render_page([study], {one.name: export.panel_specs(one) for one in figures}, "snapshot", CREATED)
    found = text.split('<section class="view" id="lab/documents"')[1].split("</section>")[0]
    return " ".join(html.unescape(re.sub(r"<script.*?</script>|<[^>]+>", " ", found, flags=re.S)).split())


@pytest.fixture(scope="module")
def study_page(make: Make) -> StudyPage:
    with make() as connection:
        return written(connection)


def test_a_study_without_scores_has_no_such_section(make: Make, builder: ModuleType, tmp_path: Path) -> None:
    path = builder.write_marts(tmp_path / "none.duckdb", [builder.small_study()])
    with duckdb.connect(str(path)) as connection:
        assert "documents" not in [part.key for part in written(connection).sections]
    with make() as connection:
        for mart in set(READERS.values()):
            connection.execute(f"delete from marts.{mart}")
        assert documents.section(study_of(connection, "lab")) is None


def test_the_limits_of_these_scores_are_stated(study_page: StudyPage) -> None:
    text = plain(study_page)
    assert "3 base models read the same sample of documents (pile, 20,000 documents)" in text
    assert text.count("evidence about sets of documents, never about a single one") == 4
    assert "model-4B-0 with model-2B-0" in text, "the model without scores of its own is named with its donor"
    assert "could not be scored are left out of every figure: model-2B-1 12." in text
    assert "would already show 0.030 over all documents (null floor" in text


def test_noise_is_said_pair_by_pair(study_page: StudyPage) -> None:
    """Neighbours differ by no more than chance: they are counted, and neither smallest nor largest."""
    text = plain(study_page)
    assert "(2 of 3 pairs over all documents and 4 of 6 pairs in single domains)" in text
    assert "Distances follow how large a model is and how long it was trained at least as much as" in text
    assert "it gives 0.07 to 0.11, and the mean of the distances within the domains 0.18 to 0.22" in text
    (whole, *_) = figures_of(study_page)["lab_distances"].panels
    assert "Smallest of those told apart: model-2B-0 and model-2B-2 0.120 (floor 0.030); largest" in whole.label
    assert whole.label.endswith("Not told apart: 2 pairs.")


def test_the_heat_map_has_both_halves_and_rings_where_chance_explains(study_page: StudyPage) -> None:
    figure = figures_of(study_page)["lab_distances"]
    assert figure.choice and [panel.title for panel in figure.panels] == ["all documents", "Book", "Github"]
    rows = next(iter(figure.panels[0].chart.to_dict()["datasets"].values()))
    found = {(row["model_a"], row["model_b"]): row for row in rows}
    assert len(found) == 6 and all((b, a) in found for a, b in found)
    assert {pair for pair, row in found.items() if not row["is_told_apart"]} == {
        pair for a, b in (("model-2B-0", "model-2B-1"), ("model-2B-1", "model-2B-2")) for pair in ((a, b), (b, a))
    }


def test_distributions_are_rows_on_one_scale_without_the_outermost_bins(make: Make) -> None:
    with make() as connection:
        frame = distributions(connection)
    assert frame["model_id"].unique(maintain_order=True).to_list() == ["model-2B-0", "model-2B-1", "model-2B-2"]
    whole = frame.filter(domain="all")
    assert whole.height == 3 * (20 - 3), "neither the first, the last nor the one without width"
    assert whole.group_by("model_id").agg(pl.col("is_median").sum())["is_median"].to_list() == [1, 1, 1]
    rows = next(iter(documents.density_lines(whole).to_dict()["datasets"].values()))
    offsets = [row["offset"] for row in rows]
    assert min(offsets) == pytest.approx(-0.45 * documents.ROW_HEIGHT) and max(offsets) <= 0.45 * documents.ROW_HEIGHT


def test_bits_per_byte_keep_the_order_of_all_documents(study_page: StudyPage) -> None:
    panels = figures_of(study_page)["lab_bits_per_byte"].panels
    names = [[row["model_id"] for row in next(iter(panel.chart.to_dict()["datasets"].values()))] for panel in panels]
    assert names == [["model-2B-0", "model-2B-1", "model-2B-2"]] * 2 + [["model-2B-0", "model-2B-2"]]


def test_forty_models_stay_below_the_limit_of_a_chart(make: Make) -> None:
    with make(n_models=46) as connection:
        study = written(connection)
        frame = distributions(connection)
    assert frame["model_id"].n_unique() == documents.MOST_MODELS
    assert frame.filter(domain="all").height * 100 / 17 < 5_000, "with 100 bins instead of these 17"
    assert "5 further models are in the database." in plain(study)
    for figure in figures_of(study).values():
        for panel in figure.panels:
            assert all(len(rows) <= 5_000 for rows in panel.chart.to_dict()["datasets"].values())
    heat_map = figures_of(study)["lab_distances"].panels[0].chart.to_dict()
    assert {row["text"] for row in next(iter(heat_map["datasets"].values()))} == {""}, "too small for figures"


def test_one_model_has_no_distances(make: Make) -> None:
    with make(n_models=2) as connection:
        connection.execute("drop table if exists marts.fct_jensen_shannon_distances")
        study = written(connection)
    assert "Only one base model was scored, so there is no distance to show." in plain(study)


def test_charts_compile_in_both_themes_and_name_no_colour(study_page: StudyPage) -> None:
    for figure in figures_of(study_page).values():
        for panel in figure.panels[:1]:
            with alt.theme.enable("none"):
                spec = panel.chart.to_dict(validate=True)
            assert not re.search(r'"#[0-9a-fA-F]{3,8}"', json.dumps(spec))
            for layer in spec["layer"]:
                assert len(layer["encoding"]["tooltip"]) >= 5
                for colours in ("light", "dark"):
                    assert layer["mark"]["style"] in theme.config(colours)["style"]
            for colours in ("light", "dark"):
                svg = vl_convert.vegalite_to_svg(
                    spec, vl_version=export.VEGA_LITE, config=theme.config(colours), allowed_base_urls=[]
                )
                assert svg.count("<path") > 3


def test_hostile_names_stay_text(make: Make) -> None:
    with make(suffix=HOSTILE) as connection:
        study = written(connection)
    figures = [item for part in study.sections for item in part.items if isinstance(item, Figure)]
    text = page.render_page([study], {one.name: export.panel_specs(one) for one in figures}, "snapshot", CREATED)
    assert "<script>alert" not in text


def test_readers_keep_one_order_and_are_empty_for_other_studies(make: Make) -> None:
    with make() as connection:
        for reader in READERS:
            frame = reader(study_of(connection, "lab"))
            assert frame.height > 0 and "study_id" not in frame.columns
            assert frame.equals(reader(study_of(connection, "lab")))
            assert reader(study_of(connection, "no such study")).height == 0
        for reader, mart in READERS.items():
            connection.execute(f"drop table if exists marts.{mart}")
            assert reader(study_of(connection, "lab")).columns == []
