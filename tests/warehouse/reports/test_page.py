"""The written report: complete, offline, escaped, honest about what is missing."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import altair as alt
import duckdb
import pytest

from models_train.errors import UserError
from tests.support.report_pages import specifications
from warehouse.reports import export, page, queries
from warehouse.reports.page import Report, build_report, compose

CREATED = datetime(2025, 5, 16, 12, 30, tzinfo=UTC)
SECTIONS = (
    "answer",
    "gains",
    "recommendations",
    "correlations",
    "coverage",
    "prediction",
    "predicted",
    "coefficients",
    "predicted-coverage",
    "components",
    "objectives",
    "post-training",
    "results",
    "sources",
)


@pytest.fixture(scope="module")
def report(ordinary_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Report:
    with duckdb.connect(str(ordinary_file), read_only=True) as connection:
        return build_report(connection, tmp_path_factory.mktemp("reports"), "20250516T123000Z-abc", CREATED)


@pytest.fixture(scope="module")
def text(report: Report) -> str:
    return report.path.read_text(encoding="utf-8")


class _Page(HTMLParser):
    """Collects elements, scripts with their content, and the headings' levels."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.styles: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self.elements.append(("", {}))

    def handle_data(self, data: str) -> None:
        tag, attributes = self.elements[-1] if self.elements else ("", {})
        if tag == "script":
            self.scripts.append((attributes, data))
        if tag == "style":
            self.styles.append(data)


def test_views_are_in_the_order_of_reading(report: Report, text: str):
    assert re.findall(r'<section class="view" id="published/([a-z-]+)"', text) == list(SECTIONS)
    assert report.n_sections == len(SECTIONS)
    for key in SECTIONS:
        assert f'href="#published/{key}"' in text


def test_headings_never_skip_a_level(text: str):
    levels = [int(tag[1]) for tag, _ in _Page(text).elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 2 for before, after in pairwise(levels))


def test_every_chart_is_also_a_picture_and_linked(report: Report, text: str):
    assert len(report.charts) >= 10
    pictures = export.draw_pictures(report.path.parent / "charts")
    assert [png.stem for png in pictures] == sorted(spec.stem for spec in report.charts)
    for png in pictures:
        name = png.stem
        assert png == report.path.parent / "charts" / f"{name}.png"
        assert png.read_bytes().startswith(b"\x89PNG") and png.stat().st_size > 5_000
        svg = png.with_suffix(".svg").read_text(encoding="utf-8")
        assert svg.startswith("<svg") and svg.rstrip().endswith("</svg>")
        assert f'href="charts/{name}.png"' in text and f'href="charts/{name}.svg"' in text
    assert not [path for path in report.path.parent.rglob(".*") if path.is_file()], "temporary files are left"


def test_the_page_loads_nothing(text: str):
    parsed = _Page(text)
    for tag, attributes in parsed.elements:
        assert tag not in ("link", "iframe", "img", "object", "embed", "base"), tag
        for name in ("src", "srcset", "data", "action", "poster"):
            assert name not in attributes, (tag, name)
        assert not (attributes.get("href") or "").startswith(("http:", "https:", "//"))
    assert "@import" not in parsed.styles[0] and "url(" not in parsed.styles[0]
    specs = specifications(text)
    assert len(specs) > 20
    urls = set(re.findall(r'"((?:https?:)?//[^"]+)"', json.dumps(specs)))
    assert urls == {f"https://vega.github.io/schema/vega-lite/{alt.SCHEMA_VERSION}.json"}
    assert '"url"' not in json.dumps(specs)
    assert len(text.encode()) < 4_000_000


def test_the_policy_allows_exactly_the_scripts_and_the_style_of_the_page(text: str):
    parsed = _Page(text)
    policy = next(
        attributes["content"]
        for tag, attributes in parsed.elements
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None and "default-src 'none'" in policy and "unsafe" not in policy
    running = [content for attributes, content in parsed.scripts if "type" not in attributes]
    assert len(running) == 2
    for content in [*running, *parsed.styles]:
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy


@pytest.mark.slow
def test_hostile_names_stay_text(hostile_file: Path, tmp_path: Path):
    with duckdb.connect(str(hostile_file), read_only=True) as connection:
        report = build_report(connection, tmp_path / "reports", "<b>snapshot</b>", CREATED)
    text = report.path.read_text(encoding="utf-8")
    parsed = _Page(text)
    assert "alert(1)" in html.unescape(text)
    assert not [tag for tag, attributes in parsed.elements if tag == "img" or "onerror" in attributes]
    assert len([1 for attributes, _ in parsed.scripts if "type" not in attributes]) == 2
    assert "<script>alert" not in text and "<b>snapshot" not in text
    assert any("<script>alert(1)" in json.dumps(spec) for spec in specifications(text).values())
    # Study and objective names make file names: nothing may leave the folder.
    written = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert all(path.parts[0] == "reports" and ".." not in path.name for path in written)
    drawing = export.draw_picture(report.charts[0]).with_suffix(".svg")
    assert "<script" not in drawing.read_text(encoding="utf-8")


def test_script_json_cannot_end_its_element():
    value = {"a": "</script><!--&\u2028\u2029>"}
    text = export.script_json(value)
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == value
    with pytest.raises(ValueError):
        export.script_json({"a": float("nan")})


def test_empty_marts_give_sentences_and_no_chart(empty: duckdb.DuckDBPyConnection, tmp_path: Path):
    report = build_report(empty, tmp_path, "empty", CREATED)
    text = report.path.read_text(encoding="utf-8")
    assert report.charts == [] and report.n_sections == len(SECTIONS)
    assert 'class="chart"' not in text and "<figure" in text
    for sentence in (
        "no results yet, so there is no answer",
        "there is no ranking",
        "No feature has values for enough models",
        "No feature passes the coverage filter",
        "No model of this study was trained with both objectives",
        "no models of one line of post-training",
        "The study holds no benchmark values",
        "There are no recommendations for this study yet: the performance model makes them, from its results.",
        "There are no capability components for this study: the performance model has not run yet",
    ):
        assert sentence in text, sentence
    assert text.count("There is no performance model for this study yet: ") == 4
    assert 'class="trust"' not in text


def test_one_empty_mart_leaves_the_other_sections_whole(tmp_path: Path, builder):
    path = builder.write_marts(tmp_path / "part.duckdb", [builder.small_study()])
    with duckdb.connect(str(path)) as connection:
        connection.execute("delete from marts.fct_benchmark_coverage")
        specs = compose(connection, "part", CREATED).specs
    assert not [name for name in specs if name.startswith("published_coverage")]
    assert [name for name in specs if name.startswith("published_predicted_coverage")]
    assert [name for name in specs if "correlations" in name]


def test_sentences_come_from_the_data(text: str):
    plain = html.unescape(re.sub(r"<[^>]+>", "", text.split("<main")[1].split("</main>")[0]))
    assert "Not tested, because fewer than 8 models have a value: rare_benchmark (n = 3)." in plain
    assert "At n = 18 the critical |r| is 0.468" in plain and "0.316" not in plain
    assert "with training runs" in plain and "one training run each" in plain and "Chance is 50" in plain


def test_the_papers_critical_r_is_set_right_for_the_papers_forty_models(builder, tmp_path: Path):
    study = builder.small_study(per_group=14)
    kept = study.models.head(40)
    names = kept["model_id"].to_list()
    frames = (study.results, study.values)
    results, values = (frame.filter(frame["model_id"].is_in(names)) for frame in frames)
    forty = builder.Study("published", "Forty", kept, results, values, study.defaults, source="arXiv 2505.10775")
    path = builder.write_marts(tmp_path / "forty.duckdb", [forty])
    with duckdb.connect(str(path), read_only=True) as connection:
        plain = compose(connection, "forty", CREATED).text
    assert "At n = 40 the critical |r| is 0.312" in plain
    assert "the paper prints 0.316, which is the value for n = 39" in plain


def test_two_studies_stand_apart_and_a_synthetic_one_says_so_in_each_section(builder, tmp_path: Path):
    studies = [
        builder.small_study("published", per_group=3),
        builder.small_study("Lab!", synthetic=True, per_group=3),
    ]
    path = builder.write_marts(tmp_path / "two.duckdb", studies)
    with duckdb.connect(str(path), read_only=True) as connection:
        composed = compose(connection, "two", CREATED)
    text = composed.text
    assert [len(page.sections) for page in composed.pages] == 2 * [len(SECTIONS)]
    # Every section of it, and its part of the start view.
    assert text.count('<p class="notice">Synthetic') == len(SECTIONS) + 1
    real, lab = (text.index(f'<section class="study" id="{name}"') for name in ("published", "lab"))
    assert real < lab and '<p class="notice">Synthetic' not in text[real:lab]
    identifiers = [attributes["id"] for _, attributes in _Page(text).elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))


def test_slugs_are_distinct_and_safe():
    assert page.slugs(["a b", "a-b", "../x", "é"]) == ["a_b", "a_b_2", "x", "study"]


def test_the_foot_names_the_snapshot_and_the_sources_view_each_seed(text: str):
    foot = html.unescape(text.split('<footer id="provenance">')[1])
    assert "20250516T123000Z-abc" in foot and "2025-05-16 12:30 UTC" in foot and "#published/sources" in foot
    sources = html.unescape(text.split('id="published/sources"')[1].split("</section>")[0])
    for part in ("dbt/seeds/table_4.csv", "CC BY 4.0", "ab12ab12ab12"):
        assert part in sources


def test_the_start_view_has_the_best_model_of_each_size_group(ordinary: duckdb.DuckDBPyConnection, text: str):
    start = html.unescape(text.split('<section class="view" id="start"')[1].split("</section>")[0])
    best = queries.size_group_winners(ordinary, "published").sort("score", descending=True)
    for row in best.unique("size_group", keep="first", maintain_order=True).to_dicts():
        assert f"<strong>{row['model_id']}</strong>" in start and f"score {row['score']:.1f}" in start
    assert 'href="#published/answer"' in start


def test_only_rows_of_tables_that_name_models_are_searched(text: str):
    tables = text.split("<table")[1:]
    with_models = [table for table in tables if "data-models" in table.split(">")[0]]
    assert 8 <= len(with_models) < len(tables)
    for table in with_models:
        body = table.split("<tbody>")[1].split("</tbody>")[0]
        assert all("data-model" in row for row in body.split("<tr>")[1:])
    assert "data-model" not in "".join(table for table in tables if table not in with_models).split("</table>")[0]


def test_equal_marts_give_an_equal_page(ordinary: duckdb.DuckDBPyConnection, text: str):
    assert compose(ordinary, "20250516T123000Z-abc", CREATED).text == text


def test_a_time_without_a_zone_or_a_database_without_studies_is_refused(
    empty: duckdb.DuckDBPyConnection, tmp_path: Path
):
    with pytest.raises(UserError, match="no time zone"):
        build_report(empty, tmp_path, "x", datetime(2025, 1, 1))
    empty.execute("delete from marts.dim_studies")
    with pytest.raises(UserError, match="dim_studies is empty"):
        build_report(empty, tmp_path, "x", CREATED)
