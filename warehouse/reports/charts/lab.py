"""Estimates held against the truth of a lab: value with interval, and what it has to beat."""

from __future__ import annotations

import altair as alt
import polars as pl

from warehouse.reports.frames import by_rank, ranked

ROW_HEIGHT = 24
CORRELATIONS = (-1.0, 1.0)
_ROOM = 0.24
"""Share of the width that is added at the right, for the figures."""


def estimates(frame: pl.DataFrame, title: str, domain: tuple[float, float], digits: int = 2) -> alt.LayerChart:
    """One row per estimate: dot and line are value and 95 % interval, the hollow diamond is what it has to beat.

    frame: `label`, `value`, `low`, `high`, `baseline`, `baseline_text`, `n`, in the order of the rows; rows have a
    value. domain: ends of the x axis.
    """
    columns = ("label", "value", "low", "high", "baseline", "baseline_text", "n")
    frame = ranked(frame.select(columns), "label")
    base = alt.Chart(frame).encode(y=alt.Y("label:N", sort=by_rank(), title=None), tooltip=_tooltip(digits))
    end = domain[1] + _ROOM * (domain[1] - domain[0])
    scale = alt.Scale(domain=[domain[0], end], nice=False, zero=False)
    ticks = [-1, -0.5, 0, 0.5, 1] if domain == CORRELATIONS else alt.Undefined
    x = alt.X("value:Q", title=title, scale=scale, axis=alt.Axis(tickCount=6, values=ticks))
    layers: list[alt.Chart] = [
        base.transform_filter("isValid(datum.low)")
        .mark_rule(style="whisker")
        .encode(x=alt.X("low:Q", scale=scale), x2="high:Q"),
        base.transform_filter("isValid(datum.baseline)")
        .mark_point(style="hollow", shape="diamond", filled=True, size=70, opacity=1)
        .encode(x=alt.X("baseline:Q", scale=scale)),
        base.mark_point(style="best", filled=True, size=70, opacity=1).encode(x=x),
        base.mark_text(style="value", align="right", dx=-3).encode(
            x=alt.XValue("width"), text=alt.Text("value:Q", format=f".{digits}f")
        ),
    ]
    if domain[0] < 0 < domain[1]:
        zero = alt.Chart(pl.DataFrame({"zero": [0.0]})).mark_rule(style="zero").encode(x=alt.X("zero:Q", scale=scale))
        layers.insert(0, zero)
    return alt.LayerChart(layer=layers).properties(height=ROW_HEIGHT * frame["label"].n_unique())


def span(frame: pl.DataFrame, margin: float) -> tuple[float, float]:
    """x range that holds all values, intervals and what they have to beat, with a margin on both sides."""
    found = [value for name in ("value", "low", "high", "baseline") for value in frame[name].drop_nulls().to_list()]
    return (min(found) - margin, max(found) + margin) if found else (0.0, 1.0)


def _tooltip(digits: int) -> list[alt.Tooltip]:
    number = f".{digits}f"
    return [
        alt.Tooltip("label:N", title="Estimate"),
        alt.Tooltip("value:Q", title="Value", format=number),
        alt.Tooltip("low:Q", title="95 % interval, low", format=number),
        alt.Tooltip("high:Q", title="95 % interval, high", format=number),
        alt.Tooltip("baseline_text:N", title="To beat"),
        alt.Tooltip("baseline:Q", title="Its value", format=number),
        alt.Tooltip("n:Q", title="n"),
    ]
