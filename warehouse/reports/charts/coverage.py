"""How many of the best reward models a feature finds (Figures 4 and 9 of the paper)."""

from __future__ import annotations

import altair as alt
import polars as pl

from warehouse.reports import words


def coverage_lines(frame: pl.DataFrame) -> alt.LayerChart:
    """coverage@k of one feature against k, with chance and size alone; frame: rows of marts.coverage.

    All three lines are over the same n models, so panels with few models show how high chance already lies.
    """
    frame = frame.with_columns(
        pl.col("feature").map_elements(words.feature, return_dtype=pl.String).alias("feature_text")
    )
    ks = sorted(frame["k"].unique().to_list())
    x = alt.X(
        "k:Q",
        title="k",
        axis=alt.Axis(values=ks, grid=False, format="d"),
        scale=alt.Scale(domain=[min(*ks, 5) - 1, max(*ks, 30) + 1], nice=False, zero=False),
    )
    tooltip = [
        alt.Tooltip("feature_text:N", title="Feature"),
        alt.Tooltip("k:Q", title="k"),
        alt.Tooltip("n:Q", title="Models (n)"),
        alt.Tooltip("coverage:Q", title="Coverage", format=".0%"),
        alt.Tooltip("size_coverage:Q", title="Coverage by size alone", format=".0%"),
        alt.Tooltip("chance:Q", title="Chance (k/n)", format=".0%"),
    ]
    base = alt.Chart(frame).encode(x=x, tooltip=tooltip)
    styles = {"chance": "chance", "size_coverage": "size", "coverage": "coverage"}
    lines = [base.mark_line(style=style).encode(y=_y(column)) for column, style in styles.items()]
    points = base.mark_point(style="coverage-point", filled=True, size=46, opacity=1).encode(y=_y("coverage"))
    return alt.LayerChart(layer=[*lines, points]).properties(height=150)


def _y(column: str) -> alt.Y:
    return alt.Y(
        f"{column}:Q",
        title=None,
        axis=alt.Axis(format="%", values=[0, 0.25, 0.5, 0.75, 1]),
        scale=alt.Scale(domain=[0, 1]),
    )
