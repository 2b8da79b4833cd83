"""The performance model itself: what it weighs, and which of the best models it finds (Figures 5, 6 and 10)."""

from __future__ import annotations

import polars as pl

from warehouse.reports import words
from warehouse.reports.charts import coefficients as coefficient_charts
from warehouse.reports.charts import coverage as coverage_charts
from warehouse.reports.frames import parts
from warehouse.reports.pieces import Figure, Panel, Section

SHOWN_TERMS = 15
# What is compared, in the order of the panels: (predictor, protocol).
SHOWN_PREDICTIONS = (
    ("elastic_net", "paper_in_sample"),
    ("elastic_net", "leave_publisher_out"),
    ("selected", "leave_publisher_out"),
    ("best_single_benchmark", "leave_publisher_out"),
)


def coefficient_section(frame: pl.DataFrame, settings: pl.DataFrame, absence: str, slug: str) -> Section:
    """Coefficients and selection frequencies from performance_marts.coefficients and .final_settings."""
    title = "What the performance model weighs"
    if absence or not frame.height:
        return Section("coefficients", title, (absence or "No coefficients of a performance model are stored.",))
    figures = [_coefficient_figure(part, settings, slug, name) for name, part in parts(frame, "objective")]
    text = (
        "Elastic net, refitted to all models: so these weights are in-sample, whichever way its setting was chosen. "
        "With few models and features that go along with each other, a weight is not an effect. How often a feature "
        "is kept when publishers are resampled says more than its weight does."
    )
    return Section("coefficients", title, (text,), items=tuple(figures))


def _coefficient_figure(part: pl.DataFrame, settings: pl.DataFrame, slug: str, name: str) -> Figure:
    shown = part.filter(pl.col("feature_position") <= SHOWN_TERMS)
    total = max(part["feature_position"].to_list())
    domain = coefficient_charts.coefficient_range(shown)
    panels = []
    for protocol, rows in parts(shown, "protocol"):
        kept = rows.filter(pl.col("coefficient") != 0)
        weights = [
            f"{words.term(row['feature'])} {words.number(row['coefficient'], 2, signed=True)} "
            f"({words.percent(row['selection_frequency'])})"
            for row in kept.iter_rows(named=True)
        ]
        panels.append(
            Panel(
                title=_panel_title(protocol),
                label=(
                    f"Coefficients of the elastic net, {words.objective(name)}, {_panel_title(protocol)}. Not zero: "
                    f"{words.listing(weights) or 'none'}."
                ),
                chart=coefficient_charts.coefficient_bars(rows, domain),
            )
        )
    more = total - SHOWN_TERMS
    same = " Both ways chose the same setting here, so the panels agree." if _all_equal(part) else ""
    rest = f"{SHOWN_TERMS} of {total} terms are shown; the database holds the other {more}." if more > 0 else ""
    return Figure(
        name=f"{slug}_coefficients_{words.slug(name)}",
        title=f"{words.objective(name)}: coefficients of the elastic net and how often each is selected",
        caption=(
            "Bars are the change of the predicted score, in points, for one standard deviation of the feature; the "
            "figure at the right is the share of resamples of publishers in which the weight is not zero, bold where "
            "it is not zero here. Largest weight of either panel first. A feature without a bar was given to the "
            f"model and dropped. {rest} {_setting(settings, name)}{same} Compare Figure 5 of the paper, which shows "
            "the first panel's kind alone."
        ),
        panels=tuple(panels),
        empty="",
        key="Points per standard deviation; at the right: selected in so many resamples of publishers",
        columns=2,
        panel_width=420,
    )


def _all_equal(part: pl.DataFrame) -> bool:
    """Whether the protocols, more than one, have the same weights and frequencies."""
    weights = [
        rows.select("feature", "coefficient", "selection_frequency").sort("feature")
        for _, rows in parts(part, "protocol")
    ]
    return len(weights) > 1 and all(other.equals(weights[0]) for other in weights[1:])


def _panel_title(protocol: str) -> str:
    """What chose the setting: the coefficients themselves are always in-sample."""
    titles = {
        "paper_in_sample": "In-sample, setting chosen by ten folds (as the paper)",
        "leave_publisher_out": "In-sample, setting chosen with publishers left out",
    }
    return titles.get(protocol, protocol)


def _setting(settings: pl.DataFrame, name: str) -> str:
    mine = settings.filter(objective=name).to_dicts() if settings.height else []
    if not mine:
        return ""
    row = mine[0]
    return (
        f"With publishers left out, degree {row['degree']}, alpha {row['alpha']:g} and L1 ratio {row['l1_ratio']:g} "
        f"were chosen; the predictor that nested selection takes on all models is: "
        f"{words.predictor(row['selected_predictor'])}."
    )


def coverage_section(frame: pl.DataFrame, benchmarks: pl.DataFrame, absence: str, slug: str) -> Section:
    """Coverage@k of predictions beside benchmarks, size and chance.

    frame: performance_marts.predicted_coverage; benchmarks: marts.coverage.
    """
    title = "Does the prediction find the best models?"
    if absence or not frame.height:
        return Section("predicted-coverage", title, (absence or "No coverage of predictions is stored.",))
    figures = []
    for name, part in parts(frame, "objective"):
        single = benchmarks.filter(
            (pl.col("objective") == name) & (pl.col("feature_kind") == "benchmark") & (pl.col("n") == part["n"].max())
        )
        figures.append(_coverage_figure(part, single, slug, name))
    text = (
        "Coverage as above, with the k models of the highest predicted score picked. In-sample the prediction has seen "
        "the scores that it is asked for; with the publisher left out it has not."
    )
    return Section("predicted-coverage", title, (text,), items=tuple(figures))


def _coverage_figure(part: pl.DataFrame, single: pl.DataFrame, slug: str, name: str) -> Figure:
    n, panels = max(part["n"].to_list()), []
    for predictor, protocol in SHOWN_PREDICTIONS:
        rows = part.filter(predictor=predictor, protocol=protocol)
        if not rows.height:
            continue
        text = f"{words.predictor(predictor)}, {words.protocol(protocol)}"
        figures = ", ".join(f"{row['k']}: {words.percent(row['coverage'])}" for row in rows.iter_rows(named=True))
        panels.append(
            Panel(
                title=f"{text[:1].upper()}{text[1:]}",
                label=f"Coverage of the k best models by {text}, n = {n}, {words.objective(name)}. By k: {figures}.",
                chart=coverage_charts.predicted_coverage_lines(rows, single),
            )
        )
    return Figure(
        name=f"{slug}_predicted_coverage_{words.slug(name)}",
        title=f"{words.objective(name)}: coverage of the k best models by prediction",
        caption=(
            "Blue with dots: share of the k best by score that are also the k best predicted. Vermilion, dashed: size "
            "alone (log10 parameters) under the same protocol. Grey, dotted: chance, k/n. "
            f"{_single_benchmarks(single, n)} All over the same n = {words.plural(n, 'model')}; "
            "compare Figures 6 and 10 of the paper, whose predictions are in-sample."
        ),
        panels=tuple(panels),
        empty=f"{words.objective(name)}: no coverage of a prediction is stored.",
        key="Blue: prediction; dashed vermilion: size alone; dotted grey: chance (k/n); thin: single benchmarks",
        columns=4,
        panel_width=220,
    )


def _single_benchmarks(single: pl.DataFrame, n: int) -> str:
    names = single["feature"].unique(maintain_order=True).to_list()
    if not names:
        return (
            f"No benchmark with values for all {n} models passes the coverage filters, so none is drawn; those with "
            "fewer models have another chance level and stand above."
        )
    return (
        f"Thin lines: the {words.plural(len(names), 'benchmark')} with values for all these models that pass a "
        f"coverage filter ({words.listing(names)}); those with fewer models have another chance level and stand above."
    )
