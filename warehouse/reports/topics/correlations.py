"""Correlations of benchmarks with the result (Figure 3 of the paper)."""

from __future__ import annotations

import altair as alt
import polars as pl

from warehouse.reports import charts, labels
from warehouse.reports.elements import Figure, Panel, Section, Study
from warehouse.reports.queries import BY_CATEGORY, BY_OBJECTIVE, parts, strongest
from warehouse.reports.tables import COUNT, Col, Table, decimals

# The study of the paper, whose printed critical value the report corrects; other studies do not mention it.
PAPER = "2505.10775"
PAPER_PRINTED_CRITICAL_R = "0.316"
TITLE = "Which benchmarks correlate with the result"
SIGNIFICANT = 0.05
_MARKS = {"q": "*", "p": "°", "none": ""}
_STRENGTH = "max(abs(pearson)) filter (where target = 'score') over (partition by objective, feature)"
_TOOLTIP: charts.Tooltip = (
    ("feature_text:N", "Feature"),
    ("target_text:N", "Accuracy on"),
    ("n:Q", "Models (n)"),
    ("n_publishers:Q", "Publishers"),
    ("pearson:Q", "Pearson's r", ".3f"),
    ("pearson_low:Q", "Fisher 95 %, low", ".2f"),
    ("pearson_high:Q", "Fisher 95 %, high", ".2f"),
    ("clustered_low:Q", "Over publishers 95 %, low", ".2f"),
    ("clustered_high:Q", "Over publishers 95 %, high", ".2f"),
    ("spearman:Q", "Spearman's rank correlation", ".3f"),
    ("partial_pearson_given_size:Q", "Partial r, given log10 parameters", ".2f"),
    ("partial_low:Q", "Its 95 % over publishers, low", ".2f"),
    ("partial_high:Q", "Its 95 % over publishers, high", ".2f"),
    ("clustered_p_value:Q", "p over publishers", ".2~g"),
    ("clustered_q_value:Q", "q over publishers (false discovery rate)", ".2~g"),
    ("p_value:Q", "p, models as independent", ".2~g"),
    ("q_value:Q", "q, models as independent", ".2~g"),
    ("critical_r:Q", "Critical |r| at p = 0.05", ".3f"),
)


def section(study: Study) -> Section:
    """Per objective a heat map of all features and accuracies, the intervals of the score, and r given size."""
    pairs = feature_pairs(study)
    limits = correlation_limits(pairs)
    figures: list[Figure | Table] = []
    critical = _critical_sentence(limits, study.source)
    for objective, part in parts(tested(pairs), "objective"):
        rule = "the largest |r| with the score"
        drawn, which = strongest(part, "feature", rule, "fct_benchmark_correlations")
        figures += [
            _heat_map(drawn, objective, critical + which, study),
            _intervals(drawn.filter(target="score"), objective, which, study),
            _given_size(part.filter(target="score"), objective, study),
        ]
    paragraphs = (
        [_few_models(limits)] if figures else ["No feature has values for enough models to test a correlation."]
    )
    paragraphs += _joined(pipelines(study)) if figures else []
    paragraphs += _untested(untested_features(pairs))
    return Section("correlations", TITLE, tuple(paragraphs), items=tuple(figures))


def feature_pairs(study: Study) -> pl.DataFrame:
    """One row per objective, feature and accuracy, tested or not; by |Pearson| with the score, largest first.

    `evidence` is 'q' where the false discovery rate stays under 5 %, 'p' where only the single test is under 5 %, else
    'none'; both by the tests over publishers.
    """
    frame = study.read(
        "fct_benchmark_correlations",
        "objective, target, feature, feature_kind, topic, n, n_publishers, pearson, pearson_low, pearson_high, "
        "clustered_low, clustered_high, spearman, p_value, q_value, critical_r, clustered_p_value, clustered_q_value, "
        "partial_pearson_given_size, partial_low, partial_high, status",
        f"{BY_OBJECTIVE}, {_STRENGTH} desc nulls last, feature, {BY_CATEGORY.format(column='target')}",
    )
    return frame.with_columns(
        pl.when(pl.col("clustered_q_value") < SIGNIFICANT)
        .then(pl.lit("q"))
        .when(pl.col("clustered_p_value") < SIGNIFICANT)
        .then(pl.lit("p"))
        .otherwise(pl.lit("none"))
        .alias("evidence")
    )


def tested(pairs: pl.DataFrame) -> pl.DataFrame:
    """The rows of `feature_pairs` that have a test."""
    return pairs.filter(status="tested").drop("status")


def pipelines(study: Study) -> pl.DataFrame:
    """One row per benchmark and pipeline, most values first, the main one of a benchmark before its others."""
    return study.read(
        "fct_pipeline_offsets",
        "feature, pipeline, main_pipeline, is_main_pipeline, n_models, n_shared_models, pipeline_offset, "
        "standard_error, is_joined, n_used",
        "sum(n_used) over (partition by feature) desc, feature, is_main_pipeline desc, n_models desc, pipeline",
    )


def untested_features(pairs: pl.DataFrame) -> pl.DataFrame:
    """One row per feature without a test with the score: n, and status (too_few_models, constant)."""
    found = pairs.filter(pl.col("status") != "tested", target="score")
    by_feature = found.group_by("feature").agg(pl.col("n").max(), pl.col("status").min())
    return by_feature.sort("n", "feature", descending=[True, False])


def correlation_limits(pairs: pl.DataFrame) -> pl.DataFrame:
    """One row per number of models n, largest first: critical |r| at p = 0.05 and number of features."""
    found = tested(pairs).filter(target="score")
    limits = found.group_by("n").agg(pl.col("critical_r").max(), pl.col("feature").n_unique().alias("n_features"))
    return limits.sort("n", descending=True)


def with_labels(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows with their labels: the feature with its n, the accuracy's name, r with the mark of its evidence."""
    marked = frame.with_columns(
        charts.named("feature", labels.feature, "feature_text"),
        pl.col("target").replace(labels.TARGETS).alias("target_text"),
        (charts.two_digits("pearson") + pl.col("evidence").replace_strict(_MARKS, default="")).alias("text"),
        (pl.col("pearson").abs() >= 0.78).alias("is_strong"),
        (pl.col("evidence") != "none").alias("is_significant"),
    ).with_columns((pl.col("feature_text") + pl.lit(" · ") + pl.col("n").cast(pl.String)).alias("label"))
    return charts.ranked(marked, "label")


def heat_map(frame: pl.DataFrame) -> alt.LayerChart:
    """Feature x accuracy for one objective, colour and number = Pearson's r; frame: rows of `tested`."""
    frame = with_labels(frame)
    present = set(frame["target"].unique())
    targets = [text for name, text in labels.TARGETS.items() if name in present]
    axis = alt.Axis(orient="top", style="heat-axis")
    base = charts.row_chart(frame, "label", _TOOLTIP).encode(
        x=alt.X("target_text:N", sort=targets, title=None, axis=axis),
    )
    color = charts.heat_color("pearson", "Pearson's r", (-1, 1), "diverging", values=[-1, -0.5, 0, 0.5, 1])
    styles = {
        "datum.is_significant && datum.is_strong": "cell-strong",
        "datum.is_significant && !datum.is_strong": "cell-weak",
        "!datum.is_significant && datum.is_strong": "cell-strong-thin",
        "!datum.is_significant && !datum.is_strong": "cell-weak-thin",
    }
    return charts.layered(charts.heat_map(base, color, styles), 20 * frame["label"].n_unique())


def intervals(frame: pl.DataFrame) -> alt.LayerChart:
    """Pearson's r with the score for one objective: point, two 95 % intervals, and the critical |r| for that n.

    frame: rows of `tested` with target 'score'.
    """
    frame = with_labels(frame)
    kinds = {"Fisher": "pearson", "over publishers": "clustered"}
    long = pl.concat(
        frame.with_columns(interval=pl.lit(kind), low=pl.col(f"{column}_low"), high=pl.col(f"{column}_high"))
        for kind, column in kinds.items()
    )
    lowest = min([-0.2, *long["low"].drop_nulls()])
    x = {name: charts.across(name, "Pearson's r", (max(-1.0, lowest - 0.05), 1)) for name in ("low", "pearson")}
    order = list(kinds)
    lines = (
        charts.row_chart(long, "label", _TOOLTIP)
        .transform_filter("isValid(datum.low) && isValid(datum.high)")
        .mark_rule(strokeWidth=2.4)
        .encode(
            yOffset=alt.YOffset("interval:N", sort=order, scale=alt.Scale(paddingOuter=0.4)),
            x=x["low"],
            x2="high:Q",
            color=alt.Color("interval:N", sort=order, title="95 % interval", legend=alt.Legend(orient="top")),
        )
    )
    base = charts.row_chart(frame, "label", _TOOLTIP)
    critical = (
        base.transform_calculate(limit="(datum.pearson < 0 ? -1 : 1) * datum.critical_r")
        .mark_tick(style="critical", thickness=1.8, size=15)
        .encode(x=alt.X("limit:Q"))
    )
    points = charts.dots(base, x["pearson"], "estimate")
    return charts.layered([charts.zero(frame), critical, lines, points], 24 * frame.height)


def _heat_map(part: pl.DataFrame, objective: str, critical: str, study: Study) -> Figure:
    name, n = labels.objective(objective), part["feature"].n_unique()
    top = part.filter(target="score").head(3)
    strongest = labels.listing(
        [f"{labels.feature(row['feature'])} {labels.number(row['pearson'], 2)}" for row in top.to_dicts()]
    )
    return Figure(
        name=study.name("correlations", objective),
        title=f"{name}: correlation of each feature with each accuracy",
        caption=(
            f"Pearson's r between a feature and the accuracy over the models that have both ({n} features); the number "
            "of models n follows its name. Blue is positive, vermilion negative; the strongest with the score come "
            "first. * is significant with the false discovery rate over the whole grid held under 5 % (q < 0.05), ° "
            "only as a single test (p < 0.05), thin numbers without a mark are not significant. The tests leave out "
            "one publisher after the other, since models of one publisher resemble each other. "
            f"{_plain_tests(part)} {critical} Compare Figure 3 of the paper."
        ),
        panels=(
            Panel(
                title=f"{name}: Pearson's r",
                label=(
                    f"Heat map of Pearson's r for {n} features and {part['target'].n_unique()} accuracies, {name}. "
                    f"Strongest with the score: {strongest}."
                ),
                chart=heat_map(part),
            ),
        ),
        key="n after the name; * q < 0.05, ° p < 0.05 as a single test, both over publishers",
        panel_width=430,
    )


def _intervals(score: pl.DataFrame, objective: str, which: str, study: Study) -> Figure:
    name = labels.objective(objective)
    panel = (
        Panel(
            title=f"{name}: Pearson's r with the score",
            label=f"Pearson's r with the score, {score.height} features, two intervals each; {name}",
            chart=intervals(score),
        )
        if score.height
        else None
    )
    return Figure(
        name=study.name("intervals", objective),
        title=f"{name}: how certain each correlation with the score is",
        caption=(
            "Dots are Pearson's r with the score; n follows the name. The upper line is Fisher's 95 % interval, which "
            "treats models as independent; the lower one leaves out one publisher after the other (jackknife), since "
            "models of one publisher resemble each other. Where the intervals overlap widely, the order is not "
            f"established. Small upright marks are the critical |r| at p = 0.05 for n independent models.{which}"
        ),
        panels=(panel,) if panel else (),
        empty="No feature has values for enough models to test a correlation with the score.",
        key="Lines: 95 % intervals; small upright mark: critical |r| at p = 0.05 for that n",
        panel_width=520,
    )


def _given_size(score: pl.DataFrame, objective: str, study: Study) -> Table:
    name = labels.objective(objective)
    rows = score.filter(pl.col("partial_pearson_given_size").is_not_null()).sort(
        "partial_pearson_given_size", descending=True
    )
    by_strength = rows.sort(pl.col("partial_pearson_given_size").abs(), "feature", descending=[True, False])
    shown, which = strongest(by_strength, "feature", "the largest |r| given size", "fct_benchmark_correlations")
    clear = rows.filter((pl.col("partial_low") > 0) | (pl.col("partial_high") < 0)).height
    return Table(
        name=study.name("given_size", objective),
        title=f"{name}: correlation with the score at equal size",
        caption=(
            "Partial correlation of a feature with the score, given log10 of the parameters, with its 95 % interval "
            f"over publishers. The interval of {clear} of {labels.plural(rows.height, 'feature')} lies off zero. "
            f"{_order_of(rows)}{which}"
        ),
        rows=shown.sort("partial_pearson_given_size", descending=True, maintain_order=True).to_dicts(),
        columns=[
            Col("Feature", lambda row: labels.feature(row["feature"])),
            Col("n", "n", COUNT),
            Col("Publishers", "n_publishers", COUNT),
            Col("r", "pearson", decimals(2)),
            Col("r given size", "partial_pearson_given_size", decimals(2)),
            Col("95 % interval", lambda row: labels.interval(row["partial_low"], row["partial_high"], 2)),
        ],
        empty=f"{name}: no feature has values for enough models.",
    )


def _order_of(rows: pl.DataFrame) -> str:
    """Whether the interval of the first feature separates it from the others. rows: by r given size, largest first."""
    others = rows.filter(pl.col("partial_pearson_given_size") > rows["partial_low"].head(1)).height - 1
    if others < 1:
        return ""
    return (
        f"The interval of the first holds the estimates of {labels.plural(others, 'other')}, so the order of these is "
        "not established."
    )


def _plain_tests(part: pl.DataFrame) -> str:
    plain = part.filter(pl.col("q_value") < SIGNIFICANT).height
    clustered = part.filter(pl.col("evidence") == "q").height
    return (
        f"{clustered} of {part.height} cells have q < 0.05; tests that take models as independent would find {plain}."
    )


def _joined(found: pl.DataFrame) -> list[str]:
    others = found.filter(~pl.col("is_main_pipeline"), pl.col("n_used") > 0)
    if not others.height:
        return ["The values of a benchmark are of one evaluation pipeline: the same harness, prompt, shots and metric."]
    n_all = {feature: n for feature, n in found.group_by("feature").agg(pl.col("n_used").sum()).iter_rows()}
    names = [
        f"{labels.feature(row['feature'])} ({row['n_used']} of {n_all[row['feature']]} values, {row['pipeline']}, "
        f"{labels.number(row['pipeline_offset'], signed=True)} ± {labels.number(row['standard_error'])} points)"
        for row in others.to_dicts()
    ]
    return [
        "The values of a benchmark are of one evaluation pipeline; those of another one join it minus their mean "
        f"difference on the models that both measured (± its standard error): {labels.listing(names)}. Intervals take "
        "these offsets as known. The table of pipelines is under “What was compared”."
    ]


def _critical_sentence(limits: pl.DataFrame, source: str) -> str:
    if not limits.height:
        return ""
    row = limits.row(0, named=True)
    limit = labels.number(row["critical_r"], 3)
    text = f"At n = {row['n']} the critical |r| is {limit} (computed, p = 0.05, two-sided)"
    if PAPER in source and row["n"] == 40:
        return f"{text}; the paper prints {PAPER_PRINTED_CRITICAL_R}, which is the value for n = 39."
    return f"{text}."


def _few_models(limits: pl.DataFrame) -> str:
    largest, smallest = limits["n"][0], limits["n"][-1]
    total = int(limits["n_features"].sum())
    fewer = int(limits.filter(pl.col("n") < largest)["n_features"].sum())
    if not fewer:
        return f"All {total} features have values for the same {largest} models."
    return (
        f"Note n: {fewer} of the {total} tested features have values for fewer than {largest} models (down to "
        f"{smallest}), because not every benchmark was published for every model. A high r on few models is weak "
        "evidence, and correlations on different models do not compare strictly."
    )


def _untested(untested: pl.DataFrame) -> tuple[str, ...]:
    few, constant = (untested.filter(status=name) for name in ("too_few_models", "constant"))
    sentences = []
    if few.height:
        names = [f"{labels.feature(row['feature'])} (n = {row['n']})" for row in few.to_dicts()]
        sentences.append(f"Not tested, because fewer than 8 models have a value: {labels.listing(names)}.")
    if constant.height:
        names = [labels.feature(name) for name in constant["feature"]]
        sentences.append(f"Not tested, because all values are equal: {labels.listing(names)}.")
    return (" ".join(sentences),) if sentences else ()
