"""How the reward models were trained: learning curves, and accuracy against the learning rate."""

from __future__ import annotations

import altair as alt
import polars as pl

CURVES = {"loss": "Training loss", "validation_accuracy": "Validation pairs won (percent)"}
_PLACES = {"loss": "step", "validation_accuracy": "checkpoint_step"}
"""Columns of training_marts.learning_curves that can be drawn, with the title of their axis."""
RUN_WORDS = {"finished": "trained to the end", "stopped": "stopped early", "failed": "failed"}


def learning_curves(frame: pl.DataFrame, column: str) -> alt.LayerChart:
    """One model: a column of CURVES against the step, the chosen run in front of the others.

    frame: rows of training_marts.learning_curves of one objective and model.
    """
    frame = frame.filter(pl.col(column).is_not_null()).select(
        "training_run",
        _run_text(),
        "is_selected",
        pl.col(_PLACES[column]).alias("step"),
        pl.col("loss", "gradient_norm", "validation_accuracy").round_sig_figs(5),
        "n_tokens",
    )
    base = alt.Chart(frame).encode(
        x=alt.X("step:Q", title="Optimizer step", axis=alt.Axis(tickCount=10, tickMinStep=1, grid=False, format="d")),
        y=alt.Y(f"{column}:Q", title=CURVES[column], scale=alt.Scale(zero=False)),
        detail="training_run:N",
        tooltip=[
            alt.Tooltip("training_run:N", title="Training run"),
            alt.Tooltip("run_text:N", title="How it ended"),
            alt.Tooltip("step:Q", title="Step"),
            alt.Tooltip("loss:Q", title="Training loss", format=".4f"),
            alt.Tooltip("gradient_norm:Q", title="Gradient norm", format=".3g"),
            alt.Tooltip("validation_accuracy:Q", title="Validation pairs won (percent)", format=".1f"),
            alt.Tooltip("n_tokens:Q", title="Tokens so far", format=","),
        ],
    )
    others, chosen = base.transform_filter("!datum.is_selected"), base.transform_filter("datum.is_selected")
    layers = [others.mark_line(style="behind"), chosen.mark_line(style="coverage")]
    if column == "validation_accuracy" or frame["step"].n_unique() < 40:
        layers.append(chosen.mark_point(style="coverage-point", filled=True, size=36, opacity=1))
    return alt.LayerChart(layer=layers).properties(height=240)


def accuracy_range(frame: pl.DataFrame) -> tuple[float, float]:
    """One y range (percent) for the panels of an objective, standard errors included."""
    known = frame.filter(pl.col("best_validation_accuracy").is_not_null())
    error = pl.col("best_validation_standard_error").fill_null(0)
    low = known.select((pl.col("best_validation_accuracy") - error).min()).item()
    high = known.select((pl.col("best_validation_accuracy") + error).max()).item()
    pad = max(0.06 * (high - low), 0.5)
    return max(0.0, low - pad), min(100.0, high + pad)


def rate_search(frame: pl.DataFrame, domain: tuple[float, float]) -> alt.LayerChart:
    """One model: validation accuracy of each run's best checkpoint against its learning rate, the chosen one marked.

    frame: rows of training_marts.rate_search of one objective and model that have an accuracy.
    """
    accuracy, error = pl.col("best_validation_accuracy"), pl.col("best_validation_standard_error")
    frame = frame.with_columns(
        _run_text(),
        (accuracy - error).clip(0, 100).alias("low"),
        (accuracy + error).clip(0, 100).alias("high"),
    )
    rates = frame["learning_rate"].to_list()
    base = alt.Chart(frame).encode(
        x=alt.X(
            "learning_rate:Q",
            title="Learning rate",
            scale=alt.Scale(type="log", domain=[min(rates) / 1.35, max(rates) * 1.35], nice=False),
            axis=alt.Axis(values=_ticks(rates), format="~e", labelOverlap=True, grid=False),
        ),
        tooltip=[
            alt.Tooltip("training_run:N", title="Training run"),
            alt.Tooltip("run_text:N", title="How it ended"),
            alt.Tooltip("best_validation_accuracy:Q", title="Validation pairs won (percent)", format=".1f"),
            alt.Tooltip("best_validation_standard_error:Q", title="Standard error (points)", format=".1f"),
            alt.Tooltip("best_step:Q", title="Best checkpoint, step"),
            alt.Tooltip("n_steps:Q", title="Steps taken"),
            alt.Tooltip("n_validation_pairs:Q", title="Validation pairs"),
        ],
    )
    y = alt.Y(
        "best_validation_accuracy:Q",
        title="Validation pairs won (percent)",
        scale=alt.Scale(domain=list(domain), nice=False, zero=False),
        axis=alt.Axis(tickCount=5),
    )
    whiskers = base.mark_rule(style="faint-whisker").encode(y=alt.Y("low:Q"), y2="high:Q")
    points = [
        base.transform_filter(condition)
        .mark_point(style=style, filled=True, size=size, opacity=1, shape=shape)
        .encode(y=y)
        for condition, style, size, shape in (
            ("!datum.is_selected && datum.status !== 'finished'", "hollow", 54, "circle"),
            ("!datum.is_selected && datum.status === 'finished'", "gain", 54, "circle"),
            ("datum.is_selected", "strong-loss", 120, "diamond"),
        )
    ]
    return alt.LayerChart(layer=[whiskers, *points]).properties(height=190)


def _ticks(rates: list[float]) -> list[float]:
    """The rates themselves, thinned to those at least a quarter of a decade apart: more would not fit beside others."""
    ticks: list[float] = []
    for rate in sorted(set(rates)):
        if not ticks or rate >= ticks[-1] * 10**0.25:
            ticks.append(rate)
    return ticks


def _run_text() -> pl.Expr:
    return pl.col("status").replace(RUN_WORDS).alias("run_text")
