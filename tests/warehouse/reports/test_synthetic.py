"""The report of a lab: truth against estimate, said to be synthetic; other studies have no such section."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import altair as alt
import duckdb
import pytest
import vl_convert

from tests.support.lab_database import write_lab_marts
from tests.support.marts_database import study_of
from warehouse.reports import export, page, queries, theme
from warehouse.reports.elements import Figure, StudyPage
from warehouse.reports.tables import Table
from warehouse.reports.topics import synthetic as topic

pytestmark = pytest.mark.slow

CREATED = datetime(2025, 5, 16, 12, 30, tzinfo=UTC)
HOSTILE = "</script><script>alert(1)</script>'\"&"
KEYS = ("truth", "truth-searches")
Make = Callable[..., duckdb.DuckDBPyConnection]


@pytest.fixture(scope="module")
def make(builder: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Builds a database of one lab; the caller closes it."""

    def build(n_models: int = 8, suffix: str = "", synthetic: bool = True) -> duckdb.DuckDBPyConnection:
        study = builder.small_study("lab", suffix=suffix, synthetic=synthetic, per_group=3)
        path = builder.write_marts(tmp_path_factory.mktemp("lab") / "w.duckdb", [study])
        connection = duckdb.connect(str(path))
        write_lab_marts(connection, "lab", study.models["model_id"].to_list()[:n_models])
        return connection

    return build


def written(connection: duckdb.DuckDBPyConnection) -> StudyPage:
    return page.study_page(connection, queries.studies(connection).row(0, named=True), "lab")


def figures_of(study: StudyPage) -> list[Figure]:
    return [item for part in study.sections for item in part.items if isinstance(item, Figure)]


def rendered(study: StudyPage) -> str:
    return page.render_page(
        [study], {one.name: export.panel_specs(one) for one in figures_of(study)}, "snapshot", CREATED
    )


def plain(study: StudyPage) -> str:
    """The two sections as a reader sees them: without markup and scripts."""
    text = rendered(study)
    found = [text.split(f'<section class="view" id="lab/{key}"')[1].split("</section>")[0] for key in KEYS]
    return " ".join(html.unescape(re.sub(r"<script.*?</script>|<[^>]+>", " ", "".join(found), flags=re.S)).split())


def items_of(study: StudyPage) -> list[Figure | Table]:
    return [item for part in study.sections if part.key in KEYS for item in part.items]


@pytest.fixture(scope="module")
def study_page(make: Make) -> StudyPage:
    with make() as connection:
        return written(connection)


def test_a_study_that_is_no_lab_has_no_such_section(make: Make, builder: ModuleType, tmp_path: Path) -> None:
    path = builder.write_marts(tmp_path / "none.duckdb", [builder.small_study()])
    with duckdb.connect(str(path)) as connection:
        assert "truth" not in [part.key for part in written(connection).sections]
        assert topic.truth_checks(study_of(connection)).columns == []
        assert topic.lab_settings(study_of(connection)) == {}
    with make() as connection:
        assert topic.section(study_of(connection, "another")) is None
        assert topic.searches_section(study_of(connection, "another")) is None
        lab = study_of(connection, "lab")
        assert topic.truth_checks(lab).equals(topic.truth_checks(lab))


def test_the_section_says_what_the_checks_found(study_page: StudyPage) -> None:
    text = plain(study_page)
    assert "Synthetic data: 8 small base models made here" in text and "logistic noise of scale 0.5" in text
    assert "the presence score does rank them by the true share of a domain" in text
    assert "Spearman correlation +1.00, 95 % interval +1.00 to +1.00, mean of the cells and domains (an oracle:" in text
    assert "of the variance of the mean scores the mix explains 10 %, size 20 % and training tokens 60 %" in text
    assert "Euclidean, centred domain means +1.00" in text and "forgets which domain a document is of" in text
    assert "the merge vectors win 10.0 points more than equal weights (90.0 %), which chance could explain" in text
    assert "50.0 points more than weights behind the preferences (50.0 %), beyond chance" in text
    assert "median cosine with the weights behind the preferences is 1.00" in text
    assert "of the rate chosen less that of the mean rate is +5.5, 95 % interval" in text
    assert "the best rate would gain 6.5 (medians, n = 8 reward models)" in text


def test_figures_and_tables_hold_all_checks(study_page: StudyPage) -> None:
    figures = {item.name: item for item in items_of(study_page) if isinstance(item, Figure)}
    assert [name.removeprefix("lab_truth_") for name in figures] == ["domain_share", "mix_distance", "merge", "rates"]
    titles = [panel.title for panel in figures["lab_truth_domain_share"].panels]
    assert titles[:2] == ["presence score (n = 16)", "bits per byte (n = 16)"] and len(titles) == 4
    rows = max(figures["lab_truth_domain_share"].panels[0].chart.to_dict()["datasets"].values(), key=len)
    assert [row["label"] for row in rows] == ["within cells", "pooled", "the only one"]
    assert figures["lab_truth_mix_distance"].panels[0].title == "Jensen-Shannon, all documents (n = 28)"
    merge = figures["lab_truth_merge"].panels
    assert [panel.title for panel in merge] == [
        "Against equal weights (n = 8)", "Against weights behind the preferences (n = 8)"
    ]  # fmt: skip
    labels = [row["label"] for row in max(merge[0].chart.to_dict()["datasets"].values(), key=len)]
    assert labels[0] == "all reward models" and len(labels) == 9
    variance, correlations, mixes, searches = (item for item in items_of(study_page) if isinstance(item, Table))
    assert len(variance.rows) == 4 and len(correlations.rows) == 4 * (2 + 1) + 2 * 3 * 2
    assert len(searches.rows) == 2 + 1 + 2 * 2
    assert len(mixes.rows) == 8 and mixes.columns[-1].heading == "Github"
    assert [row[0].note for row in mixes.cells if row[0].note] == ["pre-trained as model-2B-0"]


def test_a_synthetic_study_says_so_in_every_section_and_picture(study_page: StudyPage, make: Make) -> None:
    text = rendered(study_page)
    parts = text.split('<section class="view"')[1:]
    assert len(parts) == len(study_page.sections) + 1 > 9, "with the start view"
    assert all("Synthetic: this study was made to test the method" in part for part in parts)
    figures = [figure for figure in figures_of(study_page) if figure.panels]
    assert len(figures) > 8
    for figure in figures:
        assert figure.caption.startswith("Synthetic data. ")
        subtitle = export.picture_spec(figure, export.panel_specs(figure))["title"]["subtitle"]
        assert subtitle.startswith("Synthetic data."), figure.name
    with make(synthetic=False) as connection:
        assert not any("Synthetic data." in figure.key for figure in figures_of(written(connection)))


def test_too_few_models_are_said_and_not_drawn(make: Make) -> None:
    with make(n_models=3) as connection:
        study = written(connection)
    text = plain(study)
    assert "is unknown: fewer than 4 mixes" in text
    assert "Too few models of this study were scored to say anything." in text
    assert "beyond chance" not in text


def test_charts_compile_in_both_themes_and_name_no_colour(study_page: StudyPage) -> None:
    for panel in (item.panels[0] for item in items_of(study_page) if isinstance(item, Figure)):
        with alt.theme.enable("none"):
            spec = panel.chart.to_dict(validate=True)
        assert not re.search(r'"#[0-9a-fA-F]{3,8}"', json.dumps(spec))
        for colours in ("light", "dark"):
            assert {layer["mark"]["style"] for layer in spec["layer"]} <= theme.config(colours)["style"].keys()
            svg = vl_convert.vegalite_to_svg(
                spec, vl_version=export.VEGA_LITE, config=theme.config(colours), allowed_base_urls=[]
            )
            assert svg.count("<path") > 3


def test_hostile_names_stay_text(make: Make) -> None:
    with make(suffix=HOSTILE) as connection:
        assert "<script>alert" not in rendered(written(connection))
