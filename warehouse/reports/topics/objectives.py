"""Difference of the objectives: regression minus Bradley-Terry for every base model (Figure 11 of the paper)."""

from __future__ import annotations

import altair as alt
import polars as pl

from warehouse.reports import charts, labels
from warehouse.reports.elements import Figure, Panel, Section, Study
from warehouse.reports.queries import BY_CATEGORY, parts


def section(study: Study) -> Section:
    """One figure, one panel per accuracy."""
    frame = objective_differences(study)
    score = frame.filter(category="score")
    negative = score.filter(pl.col("difference_points") < 0)
    names = [
        f"{row['model_id']} ({labels.number(row['difference_points'], signed=True)})" for row in negative.to_dicts()
    ]
    exceptions = (
        f"The sign is negative, so Bradley-Terry is better, for {labels.listing(names)}."
        if names
        else "It is negative for no model."
    )
    figure = Figure(
        name=study.name("objective_differences"),
        title="Regression minus Bradley-Terry, per base model",
        caption=(
            "A bar to the right means that the regression reward model of this base has the higher score, in "
            f"percentage points. {exceptions} n = {labels.plural(score.height, 'model')} with both objectives; "
            "compare Figure 11 of the paper. Choose another accuracy above the chart; the exported picture shows the "
            "score."
        ),
        panels=tuple(_panel(category, part) for category, part in parts(frame, "category")),
        empty="No model of this study was trained with both objectives, so there is no difference to show.",
        key="Positive: regression is better",
        panel_width=620,
        choice=True,
    )
    above = score.height - negative.height
    summary = f"For {above} of {score.height} base models, regression makes the better reward model."
    return Section("objectives", "Which objective", (summary,) if score.height else (), items=(figure,))


def objective_differences(study: Study) -> pl.DataFrame:
    """One row per accuracy and model that has both objectives, largest difference first."""
    columns = "model_id, size_group, category, regression, bradley_terry, difference_points, difference_percent"
    order = f"{BY_CATEGORY.format(column='category')}, difference_points desc, model_id"
    return study.read("fct_objective_differences", columns, order).filter(pl.col("difference_points").is_not_null())


def difference_bars(frame: pl.DataFrame) -> alt.LayerChart:
    """Bars of difference_points for one accuracy, largest first; frame: rows of `objective_differences`."""
    frame = charts.ranked(frame, "model_id").with_columns(
        pl.col("category").replace(labels.TARGETS).alias("category_text"),
        (pl.col("difference_points") < 0).alias("is_negative"),
    )
    tips = (
        ("model_id:N", "Base model"),
        ("size_group:N", "Size group (billion parameters)"),
        ("category_text:N", "Accuracy on"),
        ("regression:Q", "Regression", ".1f"),
        ("bradley_terry:Q", "Bradley-Terry", ".1f"),
        ("difference_points:Q", "Difference (points)", "+.1f"),
        ("difference_percent:Q", "Difference (% of Bradley-Terry)", "+.1f"),
    )
    base = charts.row_chart(frame, "model_id", tips)
    values = [0.0, *frame["difference_points"]]
    # A little more than the bars need, for the numbers at their ends.
    room = 0.12 * max(max(values) - min(values), 1.0)
    x = charts.across(
        "difference_points", "Difference (points)", (min(values) - room * (min(values) < 0), max(values) + room)
    )
    label = {"x": x, "text": alt.Text("difference_points:Q", format="+.1f")}
    right = base.transform_filter("!datum.is_negative").mark_text(style="value", align="left", dx=4)
    left = base.transform_filter("datum.is_negative").mark_text(style="value", align="right", dx=-4)
    layers = [
        *charts.bars(base, x, {"!datum.is_negative": "gain", "datum.is_negative": "loss"}),
        charts.zero(frame),
        right.encode(**label),
        left.encode(**label),
    ]
    return charts.layered(layers, 19 * frame.height)


def _panel(category: str, part: pl.DataFrame) -> Panel:
    name = labels.target(category)
    first, last = (labels.number(part["difference_points"][place], signed=True) for place in (0, -1))
    return Panel(
        title=name,
        label=(
            f"Bar chart: regression minus Bradley-Terry on {name} for {part.height} base models, from {first} to "
            f"{last} points."
        ),
        chart=difference_bars(part),
    )
