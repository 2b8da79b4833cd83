"""The charts: valid Vega-Lite that compiles, tooltips on all marks that show data, no own colours."""

from __future__ import annotations

import json
import re

import altair as alt
import duckdb
import polars as pl
import pytest
import vl_convert

from warehouse import marts, performance_marts
from warehouse.reports import export, theme
from warehouse.reports.charts import (
    coefficients,
    components,
    correlations,
    coverage,
    differences,
    gains,
    post_training,
    prediction,
)

STUDY = "published"


def _first(frame: pl.DataFrame, **values: str) -> pl.DataFrame:
    return frame.filter(*(pl.col(column) == value for column, value in values.items()))


@pytest.fixture
def charts(ordinary: duckdb.DuckDBPyConnection) -> dict[str, alt.LayerChart]:
    regression = {"objective": "regression"}
    group = _first(marts.size_group_gains(ordinary, STUDY), size_group=">=6", **regression)
    best = _first(marts.best_in_group(ordinary, STUDY), **regression)
    grid = _first(marts.correlations(ordinary, STUDY), **regression)
    lines = _first(marts.coverage(ordinary, STUDY), **regression)
    left_out = {"protocol": "leave_publisher_out", **regression}
    errors = _first(performance_marts.scores(ordinary, STUDY), **left_out).with_columns(in_sample_mae="mae")
    cloud = _first(performance_marts.predictions(ordinary, STUDY), predictor="elastic_net", **left_out)
    weights = _first(performance_marts.coefficients(ordinary, STUDY), **left_out)
    picked = _first(performance_marts.predicted_coverage(ordinary, STUDY), predictor="elastic_net", **left_out)
    parts = performance_marts.components(ordinary, STUDY)
    stages = _first(marts.post_training_stages(ordinary, STUDY), category="score", **regression)
    return {
        "gain_bars": gains.gain_bars(group, gains.gain_range(group)),
        "best_gains": gains.best_gains(best, gains.gain_range(best)),
        "heat_map": correlations.heat_map(grid),
        "intervals": correlations.intervals(_first(grid, target="score")),
        "coverage": coverage.coverage_lines(_first(lines, feature=lines["feature"][0])),
        "differences": differences.difference_bars(
            _first(marts.objective_differences(ordinary, STUDY), category="score")
        ),
        "stages": post_training.stage_steps(stages),
        "errors": prediction.error_dots(errors, prediction.error_range(errors)),
        "predicted": prediction.predicted_against_observed(cloud, prediction.prediction_ranges(cloud)),
        "coefficients": coefficients.coefficient_bars(weights, coefficients.coefficient_range(weights)),
        "predicted_coverage": coverage.predicted_coverage_lines(picked, _first(lines, feature_kind="benchmark")),
        "variance": components.explained_variance(parts.unique("component", keep="first", maintain_order=True)),
        "loadings": components.loadings(parts),
    }


def test_every_chart_is_valid_and_compiles_in_both_themes(charts: dict[str, alt.LayerChart]):
    for name, chart in charts.items():
        spec = chart.to_dict(validate=True)
        for colours in ("light", "dark"):
            svg = vl_convert.vegalite_to_svg(
                spec, vl_version=export.VEGA_LITE, config=theme.config(colours), allowed_base_urls=[]
            )
            assert theme.config(colours)["background"] in svg, name
            assert svg.count("<path") > 3, name


def test_every_mark_that_shows_data_has_a_tooltip(charts: dict[str, alt.LayerChart]):
    for name, chart in charts.items():
        for layer in chart.to_dict()["layer"]:
            if layer["mark"].get("style") in ("zero", "chance") and "coverage" not in name:
                continue
            titles = [field["title"] for field in layer["encoding"]["tooltip"]]
            assert len(titles) >= 5, (name, layer["mark"])
            assert all(titles)


def test_correlation_tooltips_carry_all_statistics(charts: dict[str, alt.LayerChart]):
    fields = {field["field"] for field in charts["heat_map"].to_dict()["layer"][0]["encoding"]["tooltip"]}
    wanted = "pearson pearson_low pearson_high bootstrap_low bootstrap_high spearman n p_value q_value"
    assert fields >= {*wanted.split(), "partial_pearson_given_size"}


def test_a_chart_names_no_colour(charts: dict[str, alt.LayerChart]):
    for name, chart in charts.items():
        with alt.theme.enable("none"):
            text = json.dumps(chart.to_dict())
        assert not re.search(r'"#[0-9a-fA-F]{3,8}"', text), name


def test_every_style_of_the_charts_is_in_both_themes(charts: dict[str, alt.LayerChart]):
    for chart in charts.values():
        used = {layer["mark"]["style"] for layer in chart.to_dict()["layer"] if "style" in layer["mark"]}
        for colours in ("light", "dark"):
            assert used <= theme.config(colours)["style"].keys()


def test_gain_bars_share_one_range_and_keep_room_for_the_score(ordinary: duckdb.DuckDBPyConnection):
    frame = _first(marts.size_group_gains(ordinary, STUDY), objective="regression")
    low, high = gains.gain_range(frame)
    assert low < min(0, frame["gain_low_approximate"].min()) and high > max(0, frame["gain_high_approximate"].max())
    chart = gains.gain_bars(_first(frame, size_group="<3"), (low, high)).to_dict()
    assert chart["layer"][0]["encoding"]["x"]["scale"]["domain"] == [low, high]


def test_an_unknown_theme_is_refused():
    with pytest.raises(ValueError, match=r"'sepia'.*light"):
        theme.config("sepia")
