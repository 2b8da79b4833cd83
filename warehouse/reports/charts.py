"""Layers that the charts of several topics share. Charts have no width and name no colour (see `theme`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import altair as alt
import polars as pl

from warehouse.reports import labels

Range = tuple[float, float]
Tooltip = Iterable[tuple[str, str] | tuple[str, str, str]]


def tooltip(fields: Tooltip) -> list[alt.Tooltip]:
    """(field with its type, title, number format) of each line of a tooltip."""
    return [
        alt.Tooltip(field, title=title, format=rest[0] if rest else alt.Undefined) for field, title, *rest in fields
    ]


def named(column: str, name: Callable[[Any], str], alias: str) -> pl.Expr:
    """A column written by a function of `labels`."""
    return pl.col(column).map_elements(name, return_dtype=pl.String).alias(alias)


def two_digits(column: str) -> pl.Expr:
    """A number as text with two digits."""
    return pl.col(column).map_elements(lambda value: labels.number(value, 2), return_dtype=pl.String)


def ranked(frame: pl.DataFrame, column: str, position: str = "row_position") -> pl.DataFrame:
    """frame with the place of each value of column in the frame's own order, from 0."""
    places = {name: place for place, name in enumerate(frame[column].unique(maintain_order=True))}
    return frame.with_columns(pl.col(column).replace_strict(places, return_dtype=pl.Int32).alias(position))


def by_rank(position: str = "row_position") -> alt.EncodingSortField:
    """The sort of an axis over the values of `ranked`.

    Not a list of names: Vega-Lite writes such a list into an expression, and text from data has no place in code.
    """
    return alt.EncodingSortField(field=position, op="min", order="ascending")


def row_axis(column: str, axis: Any = alt.Undefined) -> alt.Y:
    """One row per value of column, in the order of `ranked`."""
    return alt.Y(f"{column}:N", sort=by_rank(), title=None, axis=axis)


def row_chart(frame: pl.DataFrame, column: str, tips: Tooltip, axis: Any = alt.Undefined) -> alt.Chart:
    """The base of a chart with one row per value of column; frame comes from `ranked`."""
    return alt.Chart(frame).encode(y=row_axis(column, axis), tooltip=tooltip(tips))


def across(column: str, title: str, domain: Range, **axis: Any) -> alt.X:
    """A quantitative x axis over exactly the domain."""
    scale = alt.Scale(domain=list(domain), nice=False, zero=False)
    return alt.X(f"{column}:Q", title=title, stack=None, scale=scale, axis=alt.Axis(**axis))


def share_axis(column: str) -> alt.Y:
    """An upright axis from 0 to 100 %."""
    axis, scale = alt.Axis(format="%", values=[0, 0.25, 0.5, 0.75, 1]), alt.Scale(domain=[0, 1])
    return alt.Y(f"{column}:Q", title=None, stack=None, axis=axis, scale=scale)


def zero(frame: pl.DataFrame) -> alt.Chart:
    """The upright line at zero."""
    return alt.Chart(frame.head(1)).mark_rule(style="zero").encode(x=alt.datum(0))


def whisker(base: alt.Chart, low: str, high: str, style: str = "whisker") -> alt.Chart:
    """A level line between two columns, where both ends are known."""
    known = base.transform_filter(f"isValid(datum.{low})")
    return known.mark_rule(style=style).encode(x=alt.X(f"{low}:Q"), x2=f"{high}:Q")


def dots(base: alt.Chart, x: alt.X, style: str, size: int = 70, shape: str = "circle") -> alt.Chart:
    """A dot per row."""
    return base.mark_point(style=style, shape=shape, filled=True, size=size, opacity=1).encode(x=x)


def bars(base: alt.Chart, x: alt.X, styles: Mapping[str, str], band: float = 0.66) -> list[alt.Chart]:
    """Bars from zero in the style of the condition (a Vega expression) that a row meets."""
    return [
        base.transform_filter(condition).mark_bar(style=style, height={"band": band}, cornerRadiusEnd=2).encode(x=x)
        for condition, style in styles.items()
    ]


def value_at_right(base: alt.Chart, field: str, number_format: str = "", style: str = "value") -> alt.Chart:
    """The value of a row as text at the right edge of the chart."""
    text = alt.Text(field, format=number_format) if number_format else alt.Text(field)
    return base.mark_text(style=style, align="right", dx=-3).encode(x=alt.XValue("width"), text=text)


def heat_map(base: alt.Chart, color: alt.Color, styles: Mapping[str, str]) -> list[alt.Chart]:
    """Coloured cells with the column `text` on them, in the style of the condition that a cell meets."""
    texts = [
        base.transform_filter(condition).mark_text(style=style).encode(text="text:N")
        for condition, style in styles.items()
    ]
    return [base.mark_rect(style="cell").encode(color=color), *texts]


def heat_color(column: str, title: str, domain: Range, colours: str, ticks: str = ".1f", **legend: Any) -> alt.Color:
    """The colour of a heat map with its legend under the chart. colours: `diverging` or `ramp`."""
    return alt.Color(
        f"{column}:Q",
        title=title,
        scale=alt.Scale(domain=list(domain), range=colours, interpolate="rgb"),
        legend=alt.Legend(orient="bottom", gradientLength=160, format=ticks, gradientThickness=10, **legend),
    )


def layered(layers: list[alt.Chart], height: float) -> alt.LayerChart:
    """The layers over each other, the first at the back; height in pixels."""
    return alt.LayerChart(layer=[*layers], height=height)  # .properties() would copy all layers


def padded(values: Iterable[float | None], share: float, least: float, right: float = 1.0) -> Range:
    """The range of the known values with room at both ends: a share of the range, at least `least`; at the right
    `right` times as much.
    """
    known = [value for value in values if value is not None] or [0.0, 1.0]
    room = max(share * (max(known) - min(known)), least)
    return min(known) - room, max(known) + right * room


def coverage_lines(frame: pl.DataFrame, tips: Tooltip) -> list[alt.Chart]:
    """coverage@k against k, with chance and size alone; frame: k, coverage, chance, size_coverage."""
    base = alt.Chart(frame).encode(x=coverage_axis(frame), tooltip=tooltip(tips))
    styles = {"chance": "chance", "size_coverage": "size", "coverage": "coverage"}
    lines = [base.mark_line(style=style).encode(y=share_axis(column)) for column, style in styles.items()]
    points = base.mark_point(style="coverage-point", filled=True, size=46, opacity=1)
    return [*lines, points.encode(y=share_axis("coverage"))]


def coverage_axis(frame: pl.DataFrame) -> alt.X:
    """The x axis of coverage@k."""
    ks = sorted(frame["k"].unique().to_list())
    scale = alt.Scale(domain=[min(*ks, 5) - 1, max(*ks, 30) + 1], nice=False, zero=False)
    return alt.X("k:Q", title="k", axis=alt.Axis(values=ks, grid=False, format="d"), scale=scale)
