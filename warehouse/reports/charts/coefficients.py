"""What the performance model weighs, and how stable that is (Figure 5 of the paper)."""

from __future__ import annotations

import altair as alt
import polars as pl

from warehouse.reports import words
from warehouse.reports.frames import by_rank, ranked


def coefficient_range(frame: pl.DataFrame) -> tuple[float, float]:
    """One x range for the panels of an objective, with room at the right for the selection frequency."""
    values = [0.0, *frame["coefficient"].drop_nulls()]
    low, high = min(values), max(values)
    width = max(high - low, 0.1)
    return low - 0.04 * width * (low < 0), high + 0.3 * width


def coefficient_bars(frame: pl.DataFrame, domain: tuple[float, float]) -> alt.LayerChart:
    """Bars of the coefficients of one protocol, in the frame's order; at the right how often a term is selected.

    frame: rows of performance_marts.coefficients of one objective and protocol.
    """
    frame = ranked(frame, "feature").with_columns(
        pl.col("feature").map_elements(words.term, return_dtype=pl.String).alias("feature_text"),
        pl.col("protocol").map_elements(words.protocol, return_dtype=pl.String).alias("protocol_text"),
        pl.col("selection_frequency").map_elements(words.percent, return_dtype=pl.String).alias("frequency_text"),
    )
    base = alt.Chart(frame).encode(
        y=alt.Y("feature_text:N", sort=by_rank(), title=None, axis=alt.Axis(labelLimit=190)),
        tooltip=[
            alt.Tooltip("feature_text:N", title="Feature"),
            alt.Tooltip("protocol_text:N", title="Setting chosen by"),
            alt.Tooltip("coefficient:Q", title="Points per standard deviation", format="+.2f"),
            alt.Tooltip("selection_frequency:Q", title="Selected in resamples of publishers", format=".0%"),
            alt.Tooltip("feature_position:Q", title="Place by weight"),
        ],
    )
    x = alt.X(
        "coefficient:Q",
        title="Points per standard deviation",
        stack=None,
        scale=alt.Scale(domain=list(domain), nice=False, zero=False),
        axis=alt.Axis(tickCount=6),
    )
    bars = [
        base.transform_filter(condition)
        .mark_bar(style=style, height={"band": 0.62}, cornerRadiusEnd=2)
        .encode(x=x, x2=alt.X2Datum(0))
        for condition, style in (("datum.coefficient > 0", "best"), ("datum.coefficient < 0", "strong-loss"))
    ]
    zero = alt.Chart(frame.head(1)).mark_rule(style="zero").encode(x=alt.datum(0))
    texts = [
        base.transform_filter(condition)
        .mark_text(style=style, align="right", dx=-3)
        .encode(x=alt.XValue("width"), text="frequency_text:N")
        for condition, style in (("datum.coefficient !== 0", "value-strong"), ("datum.coefficient === 0", "note"))
    ]
    return alt.LayerChart(layer=[*bars, zero, *texts]).properties(height=22 * frame.height)
