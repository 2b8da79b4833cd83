"""The charts: valid Vega-Lite that compiles, tooltips on all marks that show data, no own colours."""

from __future__ import annotations

import json
import re

import altair as alt
import duckdb
import polars as pl
import pytest
import vl_convert

from tests.support.marts_database import study_of
from warehouse.reports import export, queries, theme
from warehouse.reports.topics import (
    answer,
    coefficients,
    components,
    correlations,
    coverage,
    gains,
    objectives,
    post_training,
    predicted_coverage,
    prediction,
)

STUDY = "published"


def _first(frame: pl.DataFrame, **values: str) -> pl.DataFrame:
    return frame.filter(*(pl.col(column) == value for column, value in values.items()))


@pytest.fixture
def charts(ordinary: duckdb.DuckDBPyConnection) -> dict[str, alt.LayerChart]:
    read, regression = study_of(ordinary), {"objective": "regression"}
    group = _first(gains.size_group_gains(read), size_group=">=6", **regression)
    best = _first(queries.size_group_winners(ordinary, STUDY), **regression)
    grid = _first(correlations.tested(correlations.feature_pairs(read)), **regression)
    lines = _first(coverage.coverage(read), **regression)
    left_out = {"protocol": "leave_publisher_out", **regression}
    errors = _first(prediction.prediction_errors(read), **left_out).with_columns(in_sample_mae="mae")
    cloud = _first(prediction.predicted(read), predictor="elastic_net", **left_out)
    weights = _first(coefficients.coefficients(read), **left_out)
    picked = _first(predicted_coverage.predicted_coverage(read), predictor="elastic_net", **left_out)
    loadings = components.components(read)
    stages = _first(post_training.post_training_stages(read), category="score", **regression)
    return {
        "gain_bars": gains.gain_bars(group, gains.gain_range(group)),
        "best_gains": answer.best_gains(best, gains.gain_range(best)),
        "heat_map": correlations.heat_map(grid),
        "intervals": correlations.intervals(_first(grid, target="score")),
        "coverage": coverage.coverage_chart(_first(lines, feature=lines["feature"][0])),
        "differences": objectives.difference_bars(_first(objectives.objective_differences(read), category="score")),
        "stages": post_training.stage_steps(stages),
        "errors": prediction.error_dots(errors, (0.0, 10.0)),
        "predicted": prediction.predicted_against_observed(cloud, prediction.prediction_ranges(cloud)),
        "coefficients": coefficients.coefficient_bars(weights, coefficients.coefficient_range(weights)),
        "predicted_coverage": predicted_coverage.coverage_chart(picked, _first(lines, feature_kind="benchmark")),
        "variance": components.explained_variance(components.component_shares(loadings)),
        "loadings": components.loadings(loadings),
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
    wanted = "pearson pearson_low pearson_high clustered_low clustered_high spearman n p_value q_value partial_low"
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
    frame = _first(gains.size_group_gains(study_of(ordinary)), objective="regression")
    low, high = gains.gain_range(frame)
    assert low < min(0, frame["gain_low_with_runs"].min()) and high > max(0, frame["gain_high_with_runs"].max())
    chart = gains.gain_bars(_first(frame, size_group="<3"), (low, high)).to_dict()
    assert chart["layer"][0]["encoding"]["x"]["scale"]["domain"] == [low, high]


def test_an_unknown_theme_is_refused():
    with pytest.raises(ValueError, match=r"'sepia'.*light"):
        theme.config("sepia")
