"""What the benchmarks have in common (Figures 12 and 13 of the paper)."""

from __future__ import annotations

import altair as alt
import polars as pl

from warehouse.reports import words
from warehouse.reports.frames import by_rank, ranked


def explained_variance(frame: pl.DataFrame) -> alt.LayerChart:
    """Bars: share of the variance that a component explains; line: running sum. frame: one row per component."""
    frame = frame.with_columns(
        pl.col("explained_variance_ratio").map_elements(words.percent, return_dtype=pl.String).alias("share_text")
    )
    base = alt.Chart(frame).encode(
        x=alt.X("component:O", title="Component", axis=alt.Axis(labelAngle=0)),
        tooltip=[
            alt.Tooltip("component:O", title="Component"),
            alt.Tooltip("explained_variance_ratio:Q", title="Share of the variance", format=".1%"),
            alt.Tooltip("cumulative_ratio:Q", title="With the components before it", format=".1%"),
            alt.Tooltip("n_models:Q", title="Models (n)"),
            alt.Tooltip("n_imputed:Q", title="Imputed cells"),
        ],
    )
    bars = base.mark_bar(style="gain", cornerRadiusEnd=2, width={"band": 0.62}).encode(y=_y("explained_variance_ratio"))
    line = base.mark_line(style="loss-line").encode(y=_y("cumulative_ratio"))
    points = base.mark_point(style="strong-loss", filled=True, size=46, opacity=1).encode(y=_y("cumulative_ratio"))
    # The running sum passes close above the first, long bars: their figures stand inside.
    texts = [
        base.transform_filter(condition)
        .mark_text(style="value", dy=dy)
        .encode(y=_y("explained_variance_ratio"), text="share_text:N")
        for condition, dy in (
            ("datum.explained_variance_ratio >= 0.3", 14),
            ("datum.explained_variance_ratio < 0.3", -7),
        )
    ]
    return alt.LayerChart(layer=[bars, line, points, *texts]).properties(height=240)


def loadings(frame: pl.DataFrame) -> alt.LayerChart:
    """Benchmark x component, colour and figure = loading; rows by the first component's, largest first.

    frame: rows of performance_marts.components; all that are given are drawn.
    """
    first = frame.filter(component=frame["component"].min()).sort("loading", "benchmark", descending=[True, False])
    places = {name: place for place, name in enumerate(first["benchmark"])}
    frame = frame.with_columns(pl.col("benchmark").replace_strict(places, return_dtype=pl.Int32).alias("place"))
    largest = max(0.1, *frame["loading"].abs())
    frame = ranked(frame.sort("place", "component"), "benchmark").with_columns(
        pl.col("loading").map_elements(_two_digits, return_dtype=pl.String).alias("text"),
        (pl.col("loading").abs() >= 0.78 * largest).alias("is_strong"),
    )
    base = alt.Chart(frame).encode(
        x=alt.X("component:O", title="Component", axis=alt.Axis(orient="top", labelAngle=0, domain=False, ticks=False)),
        y=alt.Y("benchmark:N", sort=by_rank(), title=None),
        tooltip=[
            alt.Tooltip("benchmark:N", title="Benchmark"),
            alt.Tooltip("component:O", title="Component"),
            alt.Tooltip("loading:Q", title="Loading", format="+.3f"),
            alt.Tooltip("explained_variance_ratio:Q", title="Share of the variance", format=".1%"),
            alt.Tooltip("n_models:Q", title="Models (n)"),
        ],
    )
    cells = base.mark_rect(style="cell").encode(
        color=alt.Color(
            "loading:Q",
            title="Loading",
            scale=alt.Scale(domain=[-largest, largest], range="diverging", interpolate="rgb"),
            legend=alt.Legend(orient="bottom", gradientLength=160, format=".1f", gradientThickness=10),
        )
    )
    texts = [
        base.transform_filter(condition).mark_text(style=style).encode(text="text:N")
        for condition, style in (("datum.is_strong", "cell-strong"), ("!datum.is_strong", "cell-weak-thin"))
    ]
    return alt.LayerChart(layer=[cells, *texts]).properties(height=22 * frame["benchmark"].n_unique())


def _two_digits(value: float) -> str:
    return words.number(value, 2)


def _y(column: str) -> alt.Y:
    return alt.Y(
        f"{column}:Q",
        title=None,
        stack=None,
        axis=alt.Axis(format="%", values=[0, 0.25, 0.5, 0.75, 1]),
        scale=alt.Scale(domain=[0, 1]),
    )
