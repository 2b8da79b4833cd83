"""Gain of every base model over the default of its size group (Figure 2 of the paper)."""

from __future__ import annotations

import altair as alt
import polars as pl

from warehouse.reports import words
from warehouse.reports.frames import by_rank, ranked

ROW_HEIGHT = 21
# Room at the right of the longest bar for the score, as a share of the whole range.
_SCORE_ROOM = 0.16


def gain_range(frame: pl.DataFrame) -> tuple[float, float]:
    """One x range (points) for all panels of an objective, whiskers included: panels compare by eye."""
    columns = ("gain_points", "gain_low_approximate", "gain_high_approximate")
    values = [value for column in columns for value in frame[column].drop_nulls().to_list()]
    low, high = min([0.0, *values]), max([0.0, *values])
    pad = max((high - low) * 0.03, 0.5)
    low, high = low - pad, high + pad
    return low, high + (high - low) * _SCORE_ROOM


def gain_bars(frame: pl.DataFrame, domain: tuple[float, float]) -> alt.LayerChart:
    """Bars of gain_points, best first, for one objective and size group; frame: rows of
    marts.size_group_gains.

    The default sits at zero with a diamond; whiskers are the approximate 95 % interval; the score stands at
    the right.
    """
    frame = ranked(frame, "model_id").with_columns(
        pl.when("is_default")
        .then(pl.lit("default"))
        .when(pl.col("gain_points") < 0)
        .then(pl.lit("loss"))
        .when("is_best")
        .then(pl.lit("best"))
        .otherwise(pl.lit("gain"))
        .alias("kind"),
        pl.when("is_default").then(pl.lit("yes")).otherwise(pl.lit("no")).alias("default_text"),
    )
    base = alt.Chart(frame).encode(
        y=alt.Y("model_id:N", sort=by_rank(), title=None, axis=alt.Axis(style="aligned-axis")),
        tooltip=_tooltip(),
    )
    x = alt.X(
        "gain_points:Q",
        title="Gain over the default (points)",
        axis=alt.Axis(tickCount=8),
        scale=alt.Scale(domain=list(domain), nice=False, zero=False),
    )
    bars = [
        base.transform_filter(f"datum.kind === '{kind}'")
        .mark_bar(style=kind, height={"band": 0.66}, cornerRadiusEnd=2)
        .encode(x=x)
        for kind in ("best", "gain", "loss")
    ]
    zero = alt.Chart(frame.head(1)).mark_rule(style="zero").encode(x=alt.datum(0))
    whiskers = (
        base.transform_filter("isValid(datum.gain_low_approximate)")
        .mark_rule(style="whisker")
        .encode(x=alt.X("gain_low_approximate:Q"), x2="gain_high_approximate:Q")
    )
    default = base.transform_filter("datum.is_default")
    diamond = default.mark_point(style="default-mark", shape="diamond", size=90, filled=True, opacity=1).encode(x=x)
    note = default.mark_text(style="note", align="left", dx=9, text="default").encode(x=x)
    scores = base.mark_text(style="value", align="right", dx=-3).encode(
        x=alt.XValue("width"), text=alt.Text("score:Q", format=".1f")
    )
    layers = alt.LayerChart(layer=[*bars, zero, whiskers, diamond, note, scores])
    return layers.properties(height=ROW_HEIGHT * frame.height)


def best_gains(frame: pl.DataFrame, domain: tuple[float, float]) -> alt.LayerChart:
    """The best base model of each size group with its interval; frame: rows of marts.best_in_group, one
    objective.
    """
    frame = frame.with_columns(
        pl.struct("size_group", "model_id").map_elements(_best_label, return_dtype=pl.String).alias("label"),
        pl.col("objective").map_elements(words.objective, return_dtype=pl.String).alias("objective_text"),
    )
    frame = ranked(frame, "label")
    base = alt.Chart(frame).encode(
        y=alt.Y("label:N", sort=by_rank(), title=None),
        tooltip=[
            alt.Tooltip("objective_text:N", title="Objective"),
            alt.Tooltip("size_group:N", title="Size group (billion parameters)"),
            *_tooltip(),
            alt.Tooltip("runner_up:N", title="Runner-up"),
            alt.Tooltip("gap_points:Q", title="Lead over the runner-up (points)", format=".1f"),
        ],
    )
    x = alt.X(
        "gain_points:Q",
        title="Gain over the default (points)",
        axis=alt.Axis(tickCount=8),
        scale=alt.Scale(domain=list(domain), nice=False, zero=False),
    )
    zero = alt.Chart(frame.head(1)).mark_rule(style="zero").encode(x=alt.datum(0))
    interval = base.mark_rule(style="gain-line").encode(x=alt.X("gain_low_approximate:Q"), x2="gain_high_approximate:Q")
    point = base.mark_point(style="best", filled=True, size=110, opacity=1).encode(x=x)
    text = base.mark_text(style="value-strong", align="right", dx=-3).encode(
        x=alt.XValue("width"), text=alt.Text("gain_points:Q", format="+.1f")
    )
    return alt.LayerChart(layer=[zero, interval, point, text]).properties(height=30 * frame.height)


def _best_label(row: dict[str, str]) -> str:
    return f"{words.short_size_group(row['size_group'])} · {row['model_id']}"


def _tooltip() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("model_id:N", title="Base model"),
        alt.Tooltip("params_b:Q", title="Parameters (billions)", format=".2f"),
        alt.Tooltip("score:Q", title="Score (0-100)", format=".1f"),
        alt.Tooltip("gain_points:Q", title="Gain (points)", format="+.1f"),
        alt.Tooltip("gain_percent:Q", title="Gain (% of the default's score)", format="+.1f"),
        alt.Tooltip("gain_low_approximate:Q", title="95 % interval, low (approximate)", format="+.1f"),
        alt.Tooltip("gain_high_approximate:Q", title="95 % interval, high (approximate)", format="+.1f"),
        alt.Tooltip("default_model_id:N", title="Default of the group"),
        alt.Tooltip("default_score:Q", title="Score of the default", format=".1f"),
    ]
