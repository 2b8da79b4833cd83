"""How well the result is predicted: errors of all predictors, and predicted against observed."""

from __future__ import annotations

import altair as alt
import polars as pl

from warehouse.reports import words
from warehouse.reports.frames import by_rank, ranked

ROW_HEIGHT = 26


def error_range(frame: pl.DataFrame) -> tuple[float, float]:
    """One x range (points, from 0) for the panels of all objectives, with room for the figures at the right."""
    return 0.0, 1.2 * max(1.0, *frame["mae_high"].drop_nulls(), *frame["mae"].drop_nulls())


def error_dots(frame: pl.DataFrame, domain: tuple[float, float]) -> alt.LayerChart:
    """Out-of-fold error of each predictor with its interval, smallest first, for one objective.

    frame: rows of performance_marts.scores of `leave_publisher_out`, with the error of the same predictor in-sample
    as `in_sample_mae`. Baselines are hollow, nested selection is a diamond; the dashed upright is size alone.
    """
    frame = ranked(frame, "predictor").with_columns(
        pl.col("predictor").map_elements(words.predictor, return_dtype=pl.String).alias("predictor_text"),
        pl.when(pl.col("predictor").is_in(words.BASELINES))
        .then(pl.lit("baseline"))
        .when(pl.col("predictor") == "selected")
        .then(pl.lit("nested selection"))
        .otherwise(pl.lit("model"))
        .alias("kind"),
    )
    base = alt.Chart(frame).encode(y=alt.Y("predictor_text:N", sort=by_rank(), title=None), tooltip=_error_tooltip())
    title = "Mean absolute error (points)"
    x = alt.X("mae:Q", title=title, scale=alt.Scale(domain=list(domain), nice=False), axis=alt.Axis(tickCount=6))
    size = base.transform_filter("datum.predictor === 'log10_params'")
    layers = [
        size.mark_rule(style="size").encode(x=x, y=alt.YValue(0), y2=alt.Y2Value("height")),
        base.mark_rule(style="whisker").encode(x=alt.X("mae_low:Q"), x2="mae_high:Q"),
        base.transform_filter("isValid(datum.in_sample_mae)")
        .mark_tick(style="critical", thickness=2, size=14)
        .encode(x=alt.X("in_sample_mae:Q")),
    ]
    for kind, style, shape in (
        ("baseline", "hollow", "circle"),
        ("model", "best", "circle"),
        ("nested selection", "estimate", "diamond"),
    ):
        part = base.transform_filter(f"datum.kind === '{kind}'")
        layers.append(part.mark_point(style=style, shape=shape, filled=True, size=95, opacity=1).encode(x=x))
    layers.append(
        base.mark_text(style="value", align="right", dx=-3).encode(
            x=alt.XValue("width"), text=alt.Text("mae:Q", format=".1f")
        )
    )
    return alt.LayerChart(layer=layers).properties(height=ROW_HEIGHT * frame.height)


Range = tuple[float, float]


def prediction_ranges(frame: pl.DataFrame) -> tuple[Range, Range]:
    """x (observed) and y (predicted) ranges in points, one pair for all protocols of an objective, within 0-100."""
    observed = frame["observed"].drop_nulls()
    columns = ("predicted", "interval_low", "interval_high", "observed")
    shown = pl.concat([frame[column].drop_nulls().rename("value") for column in columns])
    return _padded(observed), _padded(shown)


def predicted_against_observed(frame: pl.DataFrame, ranges: tuple[Range, Range]) -> alt.LayerChart:
    """Predicted (upright, with its 90 % interval) against observed score, one protocol and predictor.

    frame: rows of performance_marts.predictions. Hollow: a model outside the range of the features of its training
    models. An end of an interval that the data do not bound, or beyond the drawing, runs to its edge.
    """
    (left, right), (bottom, top) = ranges
    has_interval = pl.any_horizontal(pl.col("interval_low", "interval_high").is_not_null())
    frame = frame.with_columns(
        pl.when(has_interval).then(pl.col("interval_low").fill_null(bottom).clip(bottom, top)).alias("drawn_low"),
        pl.when(has_interval).then(pl.col("interval_high").fill_null(top).clip(bottom, top)).alias("drawn_high"),
        pl.col("protocol").map_elements(words.protocol, return_dtype=pl.String).alias("protocol_text"),
        pl.when("in_hull").then(pl.lit("inside")).otherwise(pl.lit("outside")).alias("hull_text"),
        (pl.col("predicted") - pl.col("observed")).alias("error"),
    )
    x = alt.X("observed:Q", title="Observed score", scale=alt.Scale(domain=[left, right], nice=False, zero=False))
    scale = alt.Scale(domain=[bottom, top], nice=False, zero=False)
    y = alt.Y("predicted:Q", title="Predicted score", scale=scale)
    base = alt.Chart(frame).encode(x=x, tooltip=_prediction_tooltip())
    ends = [max(left, bottom), min(right, top)]
    diagonal = alt.Chart(pl.DataFrame({"observed": ends, "predicted": ends})).mark_line(style="chance")
    layers = [
        diagonal.encode(x=x, y=y),
        base.transform_filter("isValid(datum.drawn_low)")
        .mark_rule(style="faint-whisker")
        .encode(y=alt.Y("drawn_low:Q"), y2="drawn_high:Q"),
    ]
    for condition, style in (("!datum.in_hull", "outside"), ("datum.in_hull", "best")):
        part = base.transform_filter(condition)
        layers.append(part.mark_point(style=style, filled=True, size=46, opacity=1).encode(y=y))
    return alt.LayerChart(layer=layers).properties(height=270)


def _padded(values: pl.Series) -> Range:
    known = values.clip(0, 100).to_list() or [0.0, 100.0]
    low, high = min(known), max(known)
    pad = max(0.05 * (high - low), 1.0)
    return max(0.0, low - pad), min(100.0, high + pad)


def _error_tooltip() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("predictor_text:N", title="Predictor"),
        alt.Tooltip("kind:N", title="Kind"),
        alt.Tooltip("n:Q", title="Models (n)"),
        alt.Tooltip("mae:Q", title="Mean absolute error, publisher left out", format=".2f"),
        alt.Tooltip("mae_low:Q", title="95 % interval, low", format=".2f"),
        alt.Tooltip("mae_high:Q", title="95 % interval, high", format=".2f"),
        alt.Tooltip("in_sample_mae:Q", title="The same error in-sample", format=".2f"),
        alt.Tooltip("coverage_at_10:Q", title="Coverage at 10", format=".0%"),
        alt.Tooltip("regret_at_1:Q", title="Regret of the first pick (points)", format=".1f"),
    ]


def _prediction_tooltip() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("model_id:N", title="Base model"),
        alt.Tooltip("protocol_text:N", title="Protocol"),
        alt.Tooltip("fold:N", title="Left out"),
        alt.Tooltip("observed:Q", title="Observed score", format=".1f"),
        alt.Tooltip("predicted:Q", title="Predicted score", format=".1f"),
        alt.Tooltip("interval_low:Q", title="90 % interval, low", format=".1f"),
        alt.Tooltip("interval_high:Q", title="90 % interval, high", format=".1f"),
        alt.Tooltip("error:Q", title="Predicted minus observed (points)", format="+.1f"),
        alt.Tooltip("hull_text:N", title="Range of the training features"),
    ]
