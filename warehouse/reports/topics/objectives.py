"""Difference of the objectives: regression minus Bradley-Terry for every base model (Figure 11 of the paper)."""

from __future__ import annotations

import altair as alt
import polars as pl

from warehouse.reports import charts, labels
from warehouse.reports.elements import Figure, Panel, Section, Study
from warehouse.reports.queries import BY_CATEGORY, parts, strongest


def section(study: Study) -> Section:
    """One figure, one panel per accuracy."""
    frame = objective_differences(study)
    score = frame.filter(category="score")
    _, which = _largest(score)
    figure = Figure(
        name=study.name("objective_differences"),
        title="Regression minus Bradley-Terry, per base model",
        caption=(
            "A bar to the right means that the regression reward model of this base has the higher score, in "
            "percentage points; lines are 95 % intervals over test questions and training runs. "
            f"n = {labels.plural(score.height, 'model')} with both objectives; compare Figure 11 of the paper. Choose "
            f"another accuracy above the chart; the exported picture shows the score.{which}"
        ),
        panels=tuple(_panel(category, part) for category, part in parts(frame, "category")),
        empty="No model of this study was trained with both objectives, so there is no difference to show.",
        key="Positive: regression is better; lines: 95 % intervals with training runs",
        panel_width=620,
        choice=True,
    )
    return Section("objectives", "Which objective", summary(score) if score.height else (), items=(figure,))


def summary(score: pl.DataFrame) -> tuple[str, ...]:
    """What the differences of the score say beyond noise, and what else differs between the objectives."""
    told = score.filter("is_distinguishable")
    regression, bradley_terry = (told.filter(pl.col("difference_points") * sign > 0) for sign in (1, -1))
    text = (
        f"By these recipes regression makes the better reward model for {regression.height} of "
        f"{labels.plural(score.height, 'base model')}, beyond the noise of test questions and training runs. "
    )
    if bradley_terry.height:
        text += f"Bradley-Terry is better beyond that noise for {labels.listing(_named(bradley_terry))}. "
    else:
        text += "Bradley-Terry is better beyond that noise for none. "
    open_ones = score.filter(~pl.col("is_distinguishable"))
    if open_ones.height:
        text += f"Not distinguishable: {labels.listing(_named(open_ones))}."
    return (
        text.strip(),
        "The two differ in more than the loss: in the paper regression is trained for 2 epochs on graded attributes "
        "and Bradley-Terry for 1 epoch on preferences, each with learning rates of its own, and the weights that merge "
        "the five attributes are the best of 4 million on the validation pairs. So whole recipes are compared.",
    )


def _named(frame: pl.DataFrame) -> list[str]:
    return [
        f"{row['model_id']} ({labels.with_error(row['difference_points'], row['error_with_runs'])})"
        for row in frame.to_dicts()
    ]


def objective_differences(study: Study) -> pl.DataFrame:
    """One row per accuracy and model that has both objectives, largest difference first."""
    columns = (
        "model_id, size_group, category, regression, bradley_terry, difference_points, difference_percent, "
        "standard_error, error_with_runs, low_with_runs, high_with_runs, is_distinguishable"
    )
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
        ("standard_error:Q", "Standard error over test questions", ".1f"),
        ("error_with_runs:Q", "Standard error with training runs", ".1f"),
    )
    base = charts.row_chart(frame, "model_id", tips)
    columns = ("difference_points", "low_with_runs", "high_with_runs")
    low, high = charts.padded([0.0, *(value for column in columns for value in frame[column])], 0.03, 0.5)
    x = charts.across("difference_points", "Difference (points)", (low, high + 0.14 * (high - low)))
    layers = [
        *charts.bars(base, x, {"!datum.is_negative": "gain", "datum.is_negative": "loss"}),
        charts.zero(frame),
        charts.whisker(base, "low_with_runs", "high_with_runs"),
        charts.value_at_right(base, "difference_points:Q", "+.1f"),
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
        chart=difference_bars(_largest(part)[0]),
    )


def _largest(part: pl.DataFrame) -> tuple[pl.DataFrame, str]:
    """The largest differences of one accuracy either way, in the frame's order, and a sentence where there are more."""
    by_size = part.sort(pl.col("difference_points").abs(), "model_id", descending=[True, False])
    drawn, which = strongest(by_size, "model_id", "the largest difference either way", "fct_objective_differences")
    return drawn.sort("difference_points", "model_id", descending=[True, False]), which
