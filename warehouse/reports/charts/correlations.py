"""Correlation of benchmarks and training figures with reward-model accuracy (Figure 3 of the paper)."""

from __future__ import annotations

import altair as alt
import polars as pl

from warehouse.reports import words
from warehouse.reports.frames import by_rank, ranked

_MARKS = {"q": "*", "p": "°", "none": ""}


def with_labels(frame: pl.DataFrame) -> pl.DataFrame:
    """marts.correlations with what a reader sees: the feature with its n, the target's name, the marked
    figure.
    """
    feature = pl.col("feature").map_elements(words.feature, return_dtype=pl.String)
    named = frame.with_columns(
        feature.alias("feature_text"),
        (feature + pl.lit(" · ") + pl.col("n").cast(pl.String)).alias("label"),
        pl.col("target").replace(words.TARGETS).alias("target_text"),
        pl.col("evidence").replace_strict(_MARKS, default="").alias("mark"),
    ).with_columns(
        (pl.col("pearson").map_elements(_two_digits, return_dtype=pl.String) + pl.col("mark")).alias("text"),
        (pl.col("pearson").abs() >= 0.78).alias("is_strong"),
        (pl.col("evidence") != "none").alias("is_significant"),
    )
    return ranked(named, "label")


def heat_map(frame: pl.DataFrame) -> alt.LayerChart:
    """Feature x target for one objective, colour and figure = Pearson's r; frame: marts.correlations."""
    frame = with_labels(frame)
    present = set(frame["target"].unique())
    targets = [text for name, text in words.TARGETS.items() if name in present]
    base = alt.Chart(frame).encode(
        x=alt.X(
            "target_text:N",
            sort=targets,
            title=None,
            axis=alt.Axis(orient="top", style="heat-axis"),
        ),
        y=alt.Y("label:N", sort=by_rank(), title=None),
        tooltip=_tooltip(),
    )
    cells = base.mark_rect(style="cell").encode(
        color=alt.Color(
            "pearson:Q",
            title="Pearson's r",
            scale=alt.Scale(domain=[-1, 1], range="diverging", interpolate="rgb"),
            legend=alt.Legend(
                orient="bottom", gradientLength=160, format=".1f", gradientThickness=10, values=[-1, -0.5, 0, 0.5, 1]
            ),
        )
    )
    texts = [
        base.transform_filter(condition).mark_text(style=style).encode(text="text:N")
        for condition, style in (
            ("datum.is_significant && datum.is_strong", "cell-strong"),
            ("datum.is_significant && !datum.is_strong", "cell-weak"),
            ("!datum.is_significant && datum.is_strong", "cell-strong-thin"),
            ("!datum.is_significant && !datum.is_strong", "cell-weak-thin"),
        )
    ]
    return alt.LayerChart(layer=[cells, *texts]).properties(height=20 * frame["label"].n_unique())


def intervals(frame: pl.DataFrame) -> alt.LayerChart:
    """Pearson's r with the score for one objective: point, two 95 % intervals, and the critical |r| for that
    n.

    frame: rows of marts.correlations with target 'score'.
    """
    frame = with_labels(frame)
    y = alt.Y("label:N", sort=by_rank(), title=None)
    kinds = ["Fisher", "bootstrap over publishers"]
    bounds = (("pearson_low", "pearson_high"), ("bootstrap_low", "bootstrap_high"))
    long = pl.concat(
        [
            frame.select(
                pl.all(),
                pl.lit(kind).alias("interval"),
                pl.col(low).alias("low"),
                pl.col(high).alias("high"),
            )
            for kind, (low, high) in zip(kinds, bounds, strict=True)
        ]
    )
    lowest = min([-0.2, *(value for value in long["low"].drop_nulls())])
    scale = alt.Scale(domain=[max(-1.0, lowest - 0.05), 1], nice=False, zero=False)
    title = "Pearson's r"
    lines = (
        alt.Chart(long)
        .transform_filter("isValid(datum.low) && isValid(datum.high)")
        .mark_rule(strokeWidth=2.4)
        .encode(
            y=y,
            yOffset=alt.YOffset("interval:N", sort=kinds, scale=alt.Scale(paddingOuter=0.4)),
            x=alt.X("low:Q", scale=scale, title=title),
            x2="high:Q",
            color=alt.Color("interval:N", sort=kinds, title="95 % interval", legend=alt.Legend(orient="top")),
            tooltip=_tooltip(),
        )
    )
    zero = alt.Chart(frame.head(1)).mark_rule(style="zero").encode(x=alt.datum(0))
    points = (
        alt.Chart(frame)
        .mark_point(style="estimate", filled=True, size=70, opacity=1)
        .encode(y=y, x=alt.X("pearson:Q", scale=scale, title=title), tooltip=_tooltip())
    )
    critical = (
        alt.Chart(frame)
        .transform_calculate(limit="(datum.pearson < 0 ? -1 : 1) * datum.critical_r")
        .mark_tick(style="critical", thickness=1.8, size=15)
        .encode(y=y, x=alt.X("limit:Q"), tooltip=_tooltip())
    )
    return alt.LayerChart(layer=[zero, critical, lines, points]).properties(height=24 * frame.height)


def _two_digits(value: float) -> str:
    return words.number(value, 2)


def _tooltip() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("feature_text:N", title="Feature"),
        alt.Tooltip("target_text:N", title="Accuracy on"),
        alt.Tooltip("n:Q", title="Models (n)"),
        alt.Tooltip("n_publishers:Q", title="Publishers"),
        alt.Tooltip("pearson:Q", title="Pearson's r", format=".3f"),
        alt.Tooltip("pearson_low:Q", title="Fisher 95 %, low", format=".2f"),
        alt.Tooltip("pearson_high:Q", title="Fisher 95 %, high", format=".2f"),
        alt.Tooltip("bootstrap_low:Q", title="Bootstrap over publishers 95 %, low", format=".2f"),
        alt.Tooltip("bootstrap_high:Q", title="Bootstrap over publishers 95 %, high", format=".2f"),
        alt.Tooltip("spearman:Q", title="Spearman's rank correlation", format=".3f"),
        alt.Tooltip("partial_pearson_given_size:Q", title="Partial r, given log10 parameters", format=".2f"),
        alt.Tooltip("p_value:Q", title="p (two-sided)", format=".2~g"),
        alt.Tooltip("q_value:Q", title="q (false discovery rate)", format=".2~g"),
        alt.Tooltip("critical_r:Q", title="Critical |r| at p = 0.05", format=".3f"),
    ]
