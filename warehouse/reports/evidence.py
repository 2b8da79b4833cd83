"""What could have told beforehand: correlations and coverage, with the words that keep them honest."""

from __future__ import annotations

import polars as pl

from warehouse.reports import words
from warehouse.reports.charts import correlations as correlation_charts
from warehouse.reports.charts import coverage as coverage_charts
from warehouse.reports.frames import parts
from warehouse.reports.pieces import Figure, Panel, Section

# The study of the paper, whose printed critical value the report sets right; other studies do not mention it.
PAPER = "2505.10775"
PAPER_PRINTED_CRITICAL_R = "0.316"


def correlation_section(
    frame: pl.DataFrame, limits: pl.DataFrame, untested: pl.DataFrame, slug: str, source: str
) -> Section:
    """Heat maps and intervals from marts.correlations, correlation_limits and untested_features."""
    figures = []
    critical = _critical_sentence(limits, source)
    for name, part in parts(frame, "objective"):
        objective, n = words.objective(name), part["feature"].n_unique()
        figures.append(_heat_map(part, slug, name, objective, n, critical))
        score = part.filter(pl.col("target") == "score")
        figures.append(_intervals(score, slug, name, objective))
    paragraphs = (
        [_few_models(limits)] if figures else ["No feature has values for enough models to test a correlation."]
    )
    if untested.height:
        paragraphs.append(_untested_sentence(untested))
    return Section("correlations", "Which benchmarks go along with the result", tuple(paragraphs), items=tuple(figures))


def _heat_map(part: pl.DataFrame, slug: str, name: str, objective: str, n: int, critical: str) -> Figure:
    top = part.filter(pl.col("target") == "score").head(3)
    strongest = words.listing(
        [f"{words.feature(row['feature'])} {words.number(row['pearson'], 2)}" for row in top.iter_rows(named=True)]
    )
    return Figure(
        name=f"{slug}_correlations_{words.slug(name)}",
        title=f"{objective}: correlation of each feature with each accuracy",
        caption=(
            f"Pearson's r between a feature and the accuracy over the models that have both ({n} features); "
            "the number of models n stands behind its name. Blue goes along, vermilion goes against; the "
            "strongest with the score come first. * is significant with the false discovery rate over the "
            "whole grid held under 5 % (q < 0.05), ° only as a single test (p < 0.05), thin figures without "
            f"a mark are not significant. {critical} Compare Figure 3 of the paper."
        ),
        panels=(
            Panel(
                title=f"{objective}: Pearson's r",
                label=(
                    f"Heat map of Pearson's r for {n} features and {part['target'].n_unique()} accuracies, "
                    f"{objective}. Strongest with the score: {strongest}."
                ),
                chart=correlation_charts.heat_map(part),
            ),
        ),
        key="n behind the name; * q < 0.05, ° p < 0.05 as a single test",
        empty="",
        panel_width=430,
    )


def _intervals(score: pl.DataFrame, slug: str, name: str, objective: str) -> Figure:
    return Figure(
        name=f"{slug}_intervals_{words.slug(name)}",
        title=f"{objective}: how certain each correlation with the score is",
        caption=(
            "Dots are Pearson's r with the score; n stands behind the name. The upper line is Fisher's 95 % "
            "interval, which takes models as independent; the lower one resamples whole publishers, since "
            "models of one publisher resemble each other. Small uprights are the critical |r| at p = 0.05 "
            "for that n. The partial correlation given size is in the tooltip."
        ),
        panels=(
            Panel(
                title=f"{objective}: Pearson's r with the score",
                label=f"Pearson's r with the score, {score.height} features, two intervals each; {objective}",
                chart=correlation_charts.intervals(score),
            ),
        )
        if score.height
        else (),
        empty="No feature has values for enough models to test a correlation with the score.",
        key="Lines: 95 % intervals; small upright: critical |r| at p = 0.05 for that n",
        panel_width=520,
    )


def _critical_sentence(limits: pl.DataFrame, source: str) -> str:
    if not limits.height:
        return ""
    row = limits.row(0, named=True)
    limit = words.number(row["critical_r"], 3)
    text = f"At n = {row['n']} the critical |r| is {limit} (computed, p = 0.05, two-sided)"
    if PAPER in source and row["n"] == 40:
        return f"{text}; the paper prints {PAPER_PRINTED_CRITICAL_R}, which is the value for n = 39."
    return f"{text}."


def _few_models(limits: pl.DataFrame) -> str:
    largest, smallest = limits["n"].to_list()[0], limits["n"].to_list()[-1]
    total = int(limits["n_features"].sum())
    fewer = int(limits.filter(pl.col("n") < largest)["n_features"].sum())
    if not fewer:
        return f"All {total} features have values for the same {largest} models."
    return (
        f"Mind n: {fewer} of the {total} tested features have values for fewer than {largest} models (down "
        f"to {smallest}), because not every benchmark was published for every model. A high r on few "
        "models is weak evidence, and correlations on different models do not compare strictly."
    )


def _untested_sentence(untested: pl.DataFrame) -> str:
    few = untested.filter(pl.col("status") == "too_few_models")
    constant = untested.filter(pl.col("status") == "constant")
    sentences = []
    if few.height:
        names = [f"{words.feature(row['feature'])} (n = {row['n']})" for row in few.iter_rows(named=True)]
        sentences.append(f"Not tested, for fewer than 8 models have a value: {words.listing(names)}.")
    if constant.height:
        names = [words.feature(name) for name in constant["feature"]]
        sentences.append(f"Not tested, for all values are equal: {words.listing(names)}.")
    return " ".join(sentences)


def coverage_of_models(limits: pl.DataFrame, n_models: int) -> str:
    """How many features have values for all models, in words, from marts.correlation_limits."""
    if not limits.height:
        return f"{words.plural(n_models, 'base model')} compared; no feature has enough values to be tested."
    full = int(limits.filter(pl.col("n") >= n_models)["n_features"].sum())
    total = int(limits["n_features"].sum())
    return (
        f"{words.plural(n_models, 'base model')} compared. Of the {total} features that were tested, {full} "
        f"have a value for all of them; the correlations of the other {total - full} rest on fewer than "
        f"{n_models} models."
    )


def coverage_section(frame: pl.DataFrame, limits: pl.DataFrame, slug: str) -> Section:
    """Coverage@k from marts.coverage: the paper's filter first, then what only the wider filter of its
    appendix adds.
    """
    # The logarithm keeps the order, so size and its logarithm have one and the same coverage.
    frame = frame.filter(pl.col("feature") != "params_b")
    figures = []
    for name, part in parts(frame, "objective"):
        figures.append(_coverage_figure(part.filter("passes_main_filter"), slug, name, wide=False))
        wider = part.filter(~pl.col("passes_main_filter"))
        figures.append(_coverage_figure(wider, slug, name, wide=True))
    paragraphs = [
        "If you could train only k reward models and picked the k base models with the highest value of one "
        "feature, which share of the true k best would be among them? With few models chance alone finds "
        "many: it is k/n, and at k = n every feature finds all."
    ]
    if not figures:
        paragraphs = ["No feature passes the coverage filter of the paper or that of its appendix in this study."]
    return Section("coverage", "Which benchmarks find the best models", tuple(paragraphs), items=tuple(figures))


def _coverage_figure(part: pl.DataFrame, slug: str, name: str, *, wide: bool) -> Figure:
    objective = words.objective(name)
    panels = []
    for feature, rows in parts(part, "feature"):
        label, n = words.feature(feature), rows.row(0, named=True)["n"]
        figures = ", ".join(f"{row['k']}: {100 * row['coverage']:.0f} %" for row in rows.iter_rows(named=True))
        panels.append(
            Panel(
                title=f"{label} (n\u00a0=\u00a0{n})",
                label=f"Coverage of the k best models by {label}, n = {n}, {objective}. By k: {figures}.",
                chart=coverage_charts.coverage_lines(rows),
            )
        )
    rule = (
        "at least 0.4 at k = 5 and 0.6 at k = 10, but not the stricter filter above (Figure 9 of the paper)"
        if wide
        else "at least 0.4 at k = 5 and 0.7 at k = 10 (Figure 4 of the paper)"
    )
    return Figure(
        name=f"{slug}_coverage_{'appendix_' if wide else ''}{words.slug(name)}",
        title=f"{objective}: coverage of the k best models, {'wider' if wide else 'main'} filter",
        caption=(
            f"Features with a coverage of {rule}, those with values for most models first. Blue with dots: "
            "share of the k best by score that are also the k best by the feature. Vermilion, dashed: the "
            "same by size alone. Grey, dotted: chance, k/n. All three over the same n models. "
            f"{_beats_size(part)}"
        ),
        panels=tuple(panels),
        empty=f"{objective}: no {'further ' if wide else ''}feature has a coverage of {rule}.",
        key="Blue: the feature; dashed vermilion: size alone; dotted grey: chance (k/n)",
        columns=4,
        panel_width=210,
    )


def _beats_size(part: pl.DataFrame) -> str:
    ten = part.filter((pl.col("k") == 10) & (pl.col("feature") != "log10_params"))
    if not ten.height:
        return ""
    above = ten.filter(pl.col("coverage") > pl.col("size_coverage") + 1e-9)
    if not above.height:
        return f"At k = 10 none of these {words.plural(ten.height, 'feature')} finds more than size alone."
    names = words.listing([words.feature(name) for name in above["feature"]])
    found = f"{above.height} of these {words.plural(ten.height, 'feature')}"
    return f"Better than size alone at k = 10: {found} ({names})."
