"""Regression minus Bradley-Terry for every base model (Figure 11 of the paper)."""

from __future__ import annotations

import altair as alt
import polars as pl

from warehouse.reports import words
from warehouse.reports.frames import by_rank, ranked


def difference_bars(frame: pl.DataFrame) -> alt.LayerChart:
    """Bars of difference_points for one category, largest first; frame: marts.objective_differences."""
    frame = ranked(frame, "model_id").with_columns(
        pl.col("category").replace(words.TARGETS).alias("category_text"),
        (pl.col("difference_points") < 0).alias("is_negative"),
    )
    base = alt.Chart(frame).encode(
        y=alt.Y("model_id:N", sort=by_rank(), title=None),
        tooltip=[
            alt.Tooltip("model_id:N", title="Base model"),
            alt.Tooltip("size_group:N", title="Size group (billion parameters)"),
            alt.Tooltip("category_text:N", title="Accuracy on"),
            alt.Tooltip("regression:Q", title="Regression", format=".1f"),
            alt.Tooltip("bradley_terry:Q", title="Bradley-Terry", format=".1f"),
            alt.Tooltip("difference_points:Q", title="Difference (points)", format="+.1f"),
            alt.Tooltip("difference_percent:Q", title="Difference (% of Bradley-Terry)", format="+.1f"),
        ],
    )
    values = [0.0, *frame["difference_points"]]
    room = 0.12 * max(max(values) - min(values), 1.0)
    x = alt.X(
        "difference_points:Q",
        title="Difference (points)",
        stack=None,
        # A little more than the bars need, for the figures at their ends.
        scale=alt.Scale(domain=[min(values) - room * (min(values) < 0), max(values) + room], nice=False, zero=False),
    )
    bars = [
        base.transform_filter(condition).mark_bar(style=style, height={"band": 0.66}, cornerRadiusEnd=2).encode(x=x)
        for condition, style in (("!datum.is_negative", "gain"), ("datum.is_negative", "loss"))
    ]
    zero = alt.Chart(frame.head(1)).mark_rule(style="zero").encode(x=alt.datum(0))
    label = {"x": x, "text": alt.Text("difference_points:Q", format="+.1f")}
    right = base.transform_filter("!datum.is_negative").mark_text(style="value", align="left", dx=4)
    left = base.transform_filter("datum.is_negative").mark_text(style="value", align="right", dx=-4)
    layers = [*bars, zero, right.encode(**label), left.encode(**label)]
    return alt.LayerChart(layer=layers).properties(height=19 * frame.height)
