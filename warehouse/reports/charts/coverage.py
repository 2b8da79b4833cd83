"""How many of the best reward models a feature or a prediction finds (Figures 4, 6, 9 and 10 of the paper)."""

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
    tooltip = [
        alt.Tooltip("feature_text:N", title="Feature"),
        alt.Tooltip("k:Q", title="k"),
        alt.Tooltip("n:Q", title="Models (n)"),
        alt.Tooltip("coverage:Q", title="Coverage", format=".0%"),
        alt.Tooltip("size_coverage:Q", title="Coverage by size alone", format=".0%"),
        alt.Tooltip("chance:Q", title="Chance (k/n)", format=".0%"),
    ]
    return alt.LayerChart(layer=_lines(frame, tooltip)).properties(height=150)


def predicted_coverage_lines(frame: pl.DataFrame, benchmarks: pl.DataFrame) -> alt.LayerChart:
    """coverage@k of one predictor under one protocol, with chance, size alone, and single benchmarks thin behind it.

    frame: rows of performance_marts.predicted_coverage; benchmarks: rows of marts.coverage over the same n models.
    """
    frame = frame.with_columns(
        pl.col("predictor").map_elements(words.predictor, return_dtype=pl.String).alias("predictor_text"),
        pl.col("protocol").map_elements(words.protocol, return_dtype=pl.String).alias("protocol_text"),
    )
    tooltip = [
        alt.Tooltip("predictor_text:N", title="Predictor"),
        alt.Tooltip("protocol_text:N", title="Protocol"),
        alt.Tooltip("k:Q", title="k"),
        alt.Tooltip("n:Q", title="Models (n)"),
        alt.Tooltip("coverage:Q", title="Coverage", format=".0%"),
        alt.Tooltip("size_coverage:Q", title="Coverage by size alone, same protocol", format=".0%"),
        alt.Tooltip("chance:Q", title="Chance (k/n)", format=".0%"),
    ]
    layers = _lines(frame, tooltip)
    if benchmarks.height:
        behind = (
            alt.Chart(benchmarks)
            .mark_line(style="behind")
            .encode(
                x=_x(frame),
                y=_y("coverage"),
                detail="feature:N",
                tooltip=[
                    alt.Tooltip("feature:N", title="Benchmark"),
                    alt.Tooltip("k:Q", title="k"),
                    alt.Tooltip("n:Q", title="Models (n)"),
                    alt.Tooltip("coverage:Q", title="Coverage", format=".0%"),
                    alt.Tooltip("chance:Q", title="Chance (k/n)", format=".0%"),
                ],
            )
        )
        layers = [behind, *layers]
    return alt.LayerChart(layer=layers).properties(height=170)


def _lines(frame: pl.DataFrame, tooltip: list[alt.Tooltip]) -> list[alt.Chart]:
    base = alt.Chart(frame).encode(x=_x(frame), tooltip=tooltip)
    styles = {"chance": "chance", "size_coverage": "size", "coverage": "coverage"}
    lines = [base.mark_line(style=style).encode(y=_y(column)) for column, style in styles.items()]
    return [*lines, base.mark_point(style="coverage-point", filled=True, size=46, opacity=1).encode(y=_y("coverage"))]


def _x(frame: pl.DataFrame) -> alt.X:
    ks = sorted(frame["k"].unique().to_list())
    return alt.X(
        "k:Q",
        title="k",
        axis=alt.Axis(values=ks, grid=False, format="d"),
        scale=alt.Scale(domain=[min(*ks, 5) - 1, max(*ks, 30) + 1], nice=False, zero=False),
    )


def _y(column: str) -> alt.Y:
    return alt.Y(
        f"{column}:Q",
        title=None,
        axis=alt.Axis(format="%", values=[0, 0.25, 0.5, 0.75, 1]),
        scale=alt.Scale(domain=[0, 1]),
    )
