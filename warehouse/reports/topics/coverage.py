"""Best models found by a benchmark: coverage@k of single features (Figures 4 and 9 of the paper)."""

from __future__ import annotations

import altair as alt
import polars as pl

from warehouse.reports import charts, labels
from warehouse.reports.elements import Figure, Panel, Section, Study
from warehouse.reports.queries import BY_OBJECTIVE, parts, strongest


def section(study: Study) -> Section:
    """Per objective the features of the paper's filter, then those that only the wider filter of its appendix adds."""
    # The logarithm keeps the order, so size and its logarithm have one and the same coverage.
    frame = coverage(study).filter(pl.col("feature") != "params_b")
    figures = []
    for objective, part in parts(frame, "objective"):
        figures.append(_figure(part.filter("passes_main_filter"), objective, study, wide=False))
        figures.append(_figure(part.filter(~pl.col("passes_main_filter")), objective, study, wide=True))
    text = (
        "If you could train only k reward models and picked the k base models with the highest value of one feature, "
        "which share of the true k best would be among them? With few models chance finds many: its share is k/n, and "
        "at k = n every feature finds all."
    )
    if not figures:
        text = "No feature passes the coverage filter of the paper or that of its appendix in this study."
    return Section("coverage", "Which benchmarks find the best models", (text,), items=tuple(figures))


def coverage(study: Study) -> pl.DataFrame:
    """One row per objective, feature and k, target score, for features that pass a filter of Figure 4 or 9.

    Features with values for the most models come first, since with few models a high coverage is reached by chance;
    among them those with the highest mean coverage.
    """
    frame = study.read(
        "fct_benchmark_coverage",
        "objective, feature, feature_kind, topic, k, n, coverage, chance, size_coverage, size_difference_low, "
        "size_difference_high, passes_main_filter, passes_appendix_filter",
        f"{BY_OBJECTIVE}, n desc, avg(coverage) over (partition by objective, feature) desc, feature, k",
        {"target": "score"},
    )
    return frame.filter(pl.col("passes_main_filter") | pl.col("passes_appendix_filter"))


def coverage_chart(frame: pl.DataFrame) -> alt.LayerChart:
    """coverage@k of one feature against k, with chance and size alone; frame: rows of `coverage`.

    All three lines are over the same n models, so panels with few models show how high chance already lies.
    """
    tips = (
        ("feature_text:N", "Feature"),
        ("k:Q", "k"),
        ("n:Q", "Models (n)"),
        ("coverage:Q", "Coverage", ".0%"),
        ("size_coverage:Q", "Coverage by size alone", ".0%"),
        ("size_difference_low:Q", "Difference from size 95 %, low", "+.0%"),
        ("size_difference_high:Q", "Difference from size 95 %, high", "+.0%"),
        ("chance:Q", "Chance (k/n)", ".0%"),
    )
    frame = frame.with_columns(charts.named("feature", labels.feature, "feature_text"))
    return charts.layered(charts.coverage_lines(frame, tips), 150)


def _figure(part: pl.DataFrame, objective: str, study: Study, *, wide: bool) -> Figure:
    name = labels.objective(objective)
    panels = []
    rule = "values for the most models and then the highest mean coverage"
    drawn, which = strongest(part, "feature", rule, "fct_benchmark_coverage")
    for feature, rows in parts(drawn, "feature"):
        label, n = labels.feature(feature), rows["n"][0]
        values = ", ".join(f"{row['k']}: {100 * row['coverage']:.0f} %" for row in rows.to_dicts())
        panels.append(
            Panel(
                title=f"{label} (n\u00a0=\u00a0{n})",
                label=f"Coverage of the k best models by {label}, n = {n}, {name}. By k: {values}.",
                chart=coverage_chart(rows),
            )
        )
    rule = "at least 0.4 at k = 5 and 0.7 at k = 10 (Figure 4 of the paper)"
    if wide:
        rule = "at least 0.4 at k = 5 and 0.6 at k = 10, but not the stricter filter above (Figure 9 of the paper)"
    return Figure(
        name=study.name("coverage_appendix" if wide else "coverage", objective),
        title=f"{name}: coverage of the k best models, {'wider' if wide else 'main'} filter",
        caption=(
            f"Features with a coverage of {rule}, those with values for most models first. Blue with dots: share of "
            "the k best by score that are also the k best by the feature. Vermilion, dashed: the same by size alone. "
            f"Grey, dotted: chance, k/n. All three over the same n models. {_beats_size(part)}{which}"
        ),
        panels=tuple(panels),
        empty=f"{name}: no {'further ' if wide else ''}feature has a coverage of {rule}.",
        key="Blue: the feature; dashed vermilion: size alone; dotted grey: chance (k/n)",
        columns=4,
        panel_width=210,
    )


def _beats_size(part: pl.DataFrame) -> str:
    ten = part.filter((pl.col("k") == 10) & (pl.col("feature") != "log10_params"))
    if not ten.height:
        return ""
    above = ten.filter(pl.col("coverage") > pl.col("size_coverage") + 1e-9)
    features = labels.plural(ten.height, "feature")
    if not above.height:
        return f"At k = 10 none of these {features} finds more than size alone."
    names = labels.listing([labels.feature(name) for name in above["feature"]])
    text = f"Above size alone at k = 10: {above.height} of these {features} ({names})"
    clear = [labels.feature(name) for name in above.filter(pl.col("size_difference_low") > 0)["feature"]]
    if not clear:
        return f"{text}; none beyond the 95 % interval over publishers."
    return f"{text}; beyond the 95 % interval over publishers: {labels.listing(clear)}."
