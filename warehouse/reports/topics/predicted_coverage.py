"""Best models found by the prediction: coverage@k of predictions (Figures 6 and 10 of the paper)."""

from __future__ import annotations

import altair as alt
import polars as pl

from warehouse.reports import charts, labels
from warehouse.reports.elements import Figure, Panel, Section, Study
from warehouse.reports.queries import BY_OBJECTIVE, BY_PROTOCOL, parts
from warehouse.reports.topics import coverage, prediction

TITLE = "Does the prediction find the best models?"
SHOWN = (
    ("elastic_net", "paper_in_sample"),
    ("elastic_net", "leave_publisher_out"),
    ("average", "leave_publisher_out"),
    ("selected", "leave_publisher_out"),
)
"""Predictor and protocol of each panel, in order."""


def section(study: Study) -> Section:
    """One figure per objective: predictions beside benchmarks, size and chance."""
    frame = predicted_coverage(study)
    missing = prediction.absence(study, prediction.prediction_errors(study))
    if missing or not frame.height:
        return Section("predicted-coverage", TITLE, (missing or "No coverage of predictions is stored.",))
    benchmarks = coverage.coverage(study).filter(feature_kind="benchmark")
    figures = []
    for objective, part in parts(frame, "objective"):
        single = benchmarks.filter(pl.col("n") == part["n"].max(), objective=objective)
        figures.append(_figure(part, single, objective, study))
    text = (
        "Coverage as under “Which benchmarks find the best models”, with the k models of the highest predicted score "
        "picked. In-sample the prediction was fitted to the same scores; with the publisher left out it was not. There "
        "chance is what the same protocol finds in permuted scores: less than k/n, since folds that are trained apart "
        "are no single ranking."
    )
    return Section("predicted-coverage", TITLE, (text,), items=tuple(figures))


def predicted_coverage(study: Study) -> pl.DataFrame:
    """One row per objective, protocol, predictor and k; size_coverage is that of size alone under the same protocol."""
    frame = study.read(
        "fct_predicted_coverage",
        "objective, protocol, predictor, k, coverage, chance, n",
        f"{BY_OBJECTIVE}, {BY_PROTOCOL}, predictor, k",
        prediction.TARGET,
        optional=True,
    )
    if not frame.height:
        return frame
    within = ["objective", "protocol", "k"]
    sizes = frame.filter(predictor=prediction.SIZE).select(*within, size_coverage="coverage")
    return frame.join(sizes, on=within, how="left", maintain_order="left")


def coverage_chart(frame: pl.DataFrame, benchmarks: pl.DataFrame) -> alt.LayerChart:
    """coverage@k of one predictor under one protocol, with chance, size alone, and single benchmarks thin behind it.

    frame: rows of `predicted_coverage`; benchmarks: rows of `coverage.coverage` over the same n models.
    """
    shared = (
        ("k:Q", "k"),
        ("n:Q", "Models (n)"),
        ("coverage:Q", "Coverage", ".0%"),
        ("chance:Q", "Chance", ".0%"),
    )
    tips = (
        ("predictor_text:N", "Predictor"),
        ("protocol_text:N", "Protocol"),
        *shared,
        ("size_coverage:Q", "Coverage by size alone, same protocol", ".0%"),
    )
    frame = frame.with_columns(
        charts.named("predictor", labels.predictor, "predictor_text"),
        charts.named("protocol", labels.protocol, "protocol_text"),
    )
    layers = charts.coverage_lines(frame, tips)
    if benchmarks.height:
        behind = alt.Chart(benchmarks).mark_line(style="behind")
        tooltip = charts.tooltip((("feature:N", "Benchmark"), *shared))
        x, y = charts.coverage_axis(frame), charts.share_axis("coverage")
        layers = [behind.encode(x=x, y=y, detail="feature:N", tooltip=tooltip), *layers]
    return charts.layered(layers, 170)


def _figure(part: pl.DataFrame, single: pl.DataFrame, objective: str, study: Study) -> Figure:
    n, panels = max(part["n"].to_list()), []
    for predictor, protocol in SHOWN:
        rows = part.filter(predictor=predictor, protocol=protocol)
        if not rows.height:
            continue
        text = f"{labels.predictor(predictor)}, {labels.protocol(protocol)}"
        values = ", ".join(f"{row['k']}: {labels.percent(row['coverage'])}" for row in rows.to_dicts())
        name = labels.objective(objective)
        panels.append(
            Panel(
                title=labels.capital(text),
                label=f"Coverage of the k best models by {text}, n = {n}, {name}. By k: {values}.",
                chart=coverage_chart(rows, single),
            )
        )
    return Figure(
        name=study.name("predicted_coverage", objective),
        title=f"{labels.objective(objective)}: coverage of the k best models by prediction",
        caption=(
            "Blue with dots: share of the k best by score that are also the k best predicted. Vermilion, dashed: size "
            "alone (log10 parameters) under the same protocol. Grey, dotted: chance under the protocol. "
            f"{_single_benchmarks(single, n)} All over the same n = {labels.plural(n, 'model')}; compare Figures 6 and "
            "10 of the paper, whose predictions are in-sample."
        ),
        panels=tuple(panels),
        empty=f"{labels.objective(objective)}: no coverage of a prediction is stored.",
        key="Blue: prediction; dashed vermilion: size alone; dotted grey: chance; thin: single benchmarks",
        columns=4,
        panel_width=220,
    )


def _single_benchmarks(single: pl.DataFrame, n: int) -> str:
    names = single["feature"].unique(maintain_order=True).to_list()
    fewer = "benchmarks with fewer models have another chance level and a view of their own"
    if not names:
        return f"No benchmark with values for all {n} models passes the coverage filters, so none is drawn; {fewer}."
    return (
        f"Thin lines: the {labels.plural(len(names), 'benchmark')} with values for all these models that pass a "
        f"coverage filter ({labels.listing(names)}); {fewer}."
    )
