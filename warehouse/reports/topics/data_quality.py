"""How noisy the preference data are, and what cleaner or noisier ones change of reward models and policies."""

from __future__ import annotations

import altair as alt
import polars as pl

from warehouse.reports import charts, labels, queries
from warehouse.reports.elements import Figure, Panel, Section, Study
from warehouse.reports.tables import COUNT, PROSE, SHARE, TEXT, Col, Row, Table, decimals

SHOWN = 20
"""Most suspect labels of each data that are listed."""
OUTCOMES = {
    "on_policy_accuracy": "accuracy on policies",
    "reward_variance": "reward variance",
    "best_of_n_gain": "gold gain of best of n",
    "rloo_gain": "gold gain by RLOO",
    "grpo_gain": "gold gain by GRPO",
    "best_of_n_distill_gain": "gold gain by best-of-n fine-tuning",
}
KEY = ("outcome", "n_best_of", "policy_id", "prompt_set", "gold_id")
PROBABILITY = decimals(3)


def section(study: Study) -> Section | None:
    """Paragraphs, noise and effects as figures, and the suspect labels; None for a study without such data."""
    quality, effects, suspects = data_quality(study), data_effects(study), suspect_labels(study)
    if not quality.height:
        return None
    items: list[Figure | Table] = [_noise_figure(quality, study)]
    if effects.height:
        items += [_effect_figure(effects, study), _effect_table(effects, study)]
    items += [_quality_table(quality, study)]
    if suspects.height:
        items.append(_suspect_table(suspects, study))
    paragraphs = (*_explained(quality), *_effect_sentences(effects))
    return Section("data-quality", "Noise in the preferences", paragraphs, items=tuple(items))


def data_quality(study: Study) -> pl.DataFrame:
    """One row per data: what was kept, and the estimated noise."""
    return study.read(
        "fct_data_quality",
        "data_id, n_pairs, n_kept, kept_share, n_kept_flipped, n_kept_opposite, n_judged, n_prompts, estimated_noise, "
        "low, high, expected_noise, share_lost, true_noise, status",
        "estimated_noise nulls last, data_id",
        optional=True,
    )


def data_effects(study: Study) -> pl.DataFrame:
    """One row per reward model of a variant and outcome."""
    return study.read(
        "fct_data_effects",
        "model_id, objective, data_id, reference_data_id, reward_id, outcome, n_best_of, policy_id, prompt_set, "
        "gold_id, value, reference_value, difference, low, high, is_told_apart, n_items, n_seeds, status",
        f"list_position({list(OUTCOMES)}, outcome) nulls first, outcome, policy_id, gold_id, model_id, objective, "
        "data_id",
        optional=True,
    )


def suspect_labels(study: Study) -> pl.DataFrame:
    """The least probable labels of each data, data as in the study's other tables."""
    found = study.read(
        "fct_suspect_labels",
        "data_id, suspect_rank, pair_id, p_label, cross_fitted_margin, is_label_right, prompt, chosen, rejected",
        "data_id, suspect_rank",
        optional=True,
    )
    return found.filter(pl.col("suspect_rank") <= SHOWN) if found.height else found


def noise_rows(frame: pl.DataFrame) -> alt.LayerChart:
    """Estimated noise of each data with its interval, and the truth where it is known; frame: of `data_quality`."""
    frame = frame.with_columns(
        pl.format("{} · {} kept", "data_id", charts_percent("kept_share")).alias("row"),
        *(charts.named(name, labels.percent, f"{name}_text") for name in ("estimated_noise", "low", "high")),
    )
    frame = charts.ranked(frame, "row")
    tips = (
        ("data_id:N", "Data"),
        ("n_kept:Q", "Pairs kept", ","),
        ("estimated_noise:Q", "Estimated noise", ".1%"),
        ("low:Q", "95 % interval from", ".1%"),
        ("high:Q", "to", ".1%"),
        ("true_noise:Q", "True noise", ".1%"),
    )
    base = charts.row_chart(frame, "row", tips)
    largest = max([0.1, *(one for name in ("high", "true_noise") for one in frame[name].drop_nulls())])
    x = charts.across("estimated_noise", "Share of wrong labels", (0.0, 1.25 * largest), format="%", tickCount=5)
    truth = base.transform_filter("isValid(datum.true_noise)").mark_point(style="hollow", shape="diamond", size=80)
    layers = [
        charts.whisker(base, "low", "high"),
        truth.encode(x=alt.X("true_noise:Q")),
        charts.dots(base, x, "best"),
        charts.value_at_right(base, "estimated_noise_text:N"),
    ]
    return charts.layered(layers, 30 * frame.height)


def charts_percent(column: str) -> pl.Expr:
    """A share as text, in percent."""
    return pl.col(column).map_elements(labels.percent, return_dtype=pl.String)


def effect_rows(frame: pl.DataFrame) -> alt.LayerChart:
    """Arrows from the reference to each variant for one outcome, with the interval of the difference."""
    is_share = frame["outcome"][0] not in ("reward_variance", "best_of_n_gain") and not frame["outcome"][0].endswith(
        "_gain"
    )
    number = ".1%" if is_share else ".2f"
    several = frame["model_id"].n_unique() > 1 or frame["objective"].n_unique() > 1
    name = pl.format("{} · {}", "model_id", "data_id") if several else pl.col("data_id")
    frame = frame.with_columns(
        name.alias("row"),
        (pl.col("reference_value") + pl.col("low")).alias("from"),
        (pl.col("reference_value") + pl.col("high")).alias("to"),
        (pl.col("difference") < 0).alias("is_worse"),
    )
    frame = charts.ranked(frame, "row")
    tips = (
        ("row:N", "Data"),
        ("value:Q", "Its figure", number),
        ("reference_value:Q", "Of the preferences", number),
        ("difference:Q", "Difference", "+" + number),
        ("low:Q", "95 % interval from", "+" + number),
        ("high:Q", "to", "+" + number),
        ("n_items:Q", "Items or prompts", ","),
    )
    base = charts.row_chart(frame, "row", tips)
    known = [one for column in ("value", "reference_value", "from", "to") for one in frame[column].drop_nulls()]
    x = charts.across(
        "value", "", charts.padded(known, 0.12, 0.01, right=2.6), format="%" if is_share else "", tickCount=4
    )
    arrow = base.mark_rule(strokeWidth=2.5).encode(x=alt.X("reference_value:Q"), x2="value:Q")
    layers = [
        charts.whisker(base, "from", "to", "behind"),
        *(
            arrow.transform_filter(test).mark_rule(style=style)
            for test, style in (("!datum.is_worse", "gain-line"), ("datum.is_worse", "loss-line"))
        ),
        base.mark_tick(style="zero", thickness=2, size=16).encode(x=alt.X("reference_value:Q")),
        *(
            charts.dots(base.transform_filter(test), x, style, 60)
            for test, style in (("!datum.is_worse", "strong-gain"), ("datum.is_worse", "strong-loss"))
        ),
        charts.value_at_right(base, "difference:Q", "+" + number),
    ]
    return charts.layered(layers, 30 * frame.height)


def _explained(quality: pl.DataFrame) -> tuple[str, ...]:
    estimated = quality.filter(pl.col("estimated_noise").is_not_null())
    kept = labels.listing(
        [f"{row['data_id']} keeps {row['n_kept']:,} of {row['n_pairs']:,}" for row in quality.to_dicts()]
    )
    first = (
        f"Of the training pairs {kept}. Validation pairs are the same for all: they choose the checkpoints. Reward "
        "models of the variants are trained at the rate that the search on the preferences themselves chose."
    )
    if not estimated.height:
        return (first,)
    texts = [
        f"{row['data_id']} {labels.percent(row['estimated_noise'])}"
        + (f" ({labels.percent(row['low'])} to {labels.percent(row['high'])})" if row["low"] is not None else "")
        + (f", truly {labels.percent(row['true_noise'])}" if row["true_noise"] is not None else "")
        for row in estimated.to_dicts()
    ]
    return (
        first,
        f"Estimated share of wrong labels: {'; '.join(texts)}. Reward models that were trained on other folds judge "
        "each label; counted is the disagreement that is left where they are surest (95 % interval over prompts). "
        "Wrong labels between responses that are about equally good are not told apart from what these reward models "
        "do not know, so that the estimate leans to the low side there.",
    )


def _effect_sentences(effects: pl.DataFrame) -> tuple[str, ...]:
    if not effects.height:
        return ()
    told = effects.filter("is_told_apart")
    if not told.height:
        return (
            f"None of the {labels.plural(effects.height, 'difference')} to the reward model of the preferences "
            "themselves is told apart from 0.",
        )
    parts = []
    for (data_id,), rows in told.group_by("data_id", maintain_order=True):
        names = [f"{_outcome(row)} {'lower' if row['difference'] < 0 else 'higher'}" for row in rows.to_dicts()]
        parts.append(f"{data_id}: {labels.listing(names)}")
    return (
        f"Against the reward model of the preferences themselves, told apart are {told.height} of "
        f"{labels.plural(effects.height, 'difference')} (95 % intervals, paired). {'; '.join(parts)}.",
    )


def _outcome(row: Row) -> str:
    """Name of an outcome, with n of best of n and the policy."""
    name = OUTCOMES.get(row["outcome"], labels.reward_benchmark(row["outcome"]))
    name = name.replace(" of n", f" of {row['n_best_of']}") if row["n_best_of"] is not None else name
    return name if row["policy_id"] == "none" else f"{name}, {row['policy_id']}"


def _noise_figure(quality: pl.DataFrame, study: Study) -> Figure:
    estimated = quality.filter(pl.col("estimated_noise").is_not_null())
    label = "Dot plot: estimated share of wrong labels of each data with its interval, beside the share of pairs kept."
    panels = (Panel("", label, noise_rows(estimated)),) if estimated.height else ()
    return Figure(
        name=study.name("preference_noise"),
        title="Estimated noise of the preferences and their variants",
        caption=(
            "Dots: estimated share of wrong labels among the pairs kept, lines: 95 % intervals over prompts; diamonds: "
            "the truth, in a lab. Beside each name the share of the training pairs that was kept."
        ),
        panels=panels,
        empty="No noise was estimated: name a base model under training.noise.",
        key="Dots: estimate, lines: 95 % interval over prompts, diamonds: truth",
    )


def _effect_figure(effects: pl.DataFrame, study: Study) -> Figure:
    known = effects.filter(pl.col("difference").is_not_null())
    shown, note = queries.strongest(
        known.with_columns(pl.format("{}|{}|{}", "outcome", "policy_id", "gold_id").alias("panel")),
        "panel",
        "benchmarks first",
        "fct_data_effects",
    )
    panels = []
    for _, rows in queries.parts(shown, "panel"):
        title = labels.sentence(_outcome(rows.row(0, named=True))).rstrip(".")
        label = f"Arrow plot: {title} of reward models of each variant, from that of the preferences themselves."
        panels.append(Panel(title, label, effect_rows(rows)))
    return Figure(
        name=study.name("data_effects"),
        title="What other data change, from the reward model to the policy",
        caption=(
            "Ticks: the reward model of the preferences themselves; dots: that of the variant, same base model, rate "
            "and seed; the number is the difference. Thin lines: 95 % interval of the difference, paired over items or "
            f"prompts (and seeds of teaching), put at the tick.{note}"
        ),
        panels=tuple(panels),
        columns=2,
        panel_width=380,
        key="Ticks: preferences themselves, dots: variant, thin lines: 95 % interval of the difference",
    )


def _effect_table(effects: pl.DataFrame, study: Study) -> Table:
    figure = decimals(3)
    signed = decimals(3, signed=True)
    return Table(
        name=study.name("data_effects_table"),
        title="All effects",
        caption=(
            "Figures of the reward model of a variant less those of its reference. Benchmarks and accuracies are "
            "shares of 1; gains of best of n in the unit of the gold reward, gains by teaching in standard deviations "
            "of the initial policy."
        ),
        rows=effects.to_dicts(),
        columns=[
            Col("Outcome", _outcome),
            Col("Base model", "model_id", TEXT),
            Col("Data", "data_id"),
            Col("Value", "value", figure),
            Col("Reference", "reference_value", figure),
            Col("Difference", "difference", signed),
            Col("From", "low", signed, "Lower end of the 95 % interval"),
            Col("To", "high", signed, "Upper end of the 95 % interval"),
            Col("Items", "n_items", COUNT),
            Col("Seeds", "n_seeds", COUNT),
            Col("Status", "status", PROSE),
        ],
        folded=True,
    )


def _quality_table(quality: pl.DataFrame, study: Study) -> Table:
    return Table(
        name=study.name("preference_quality"),
        title="Pairs and noise",
        caption=(
            "Upper bound: mean of 1 - p by plain calibration, which counts what the reward models do not know. Share "
            "lost: labels that the reward models of other folds contradict."
        ),
        rows=quality.to_dicts(),
        columns=[
            Col("Data", "data_id"),
            Col("Pairs", "n_pairs", COUNT),
            Col("Kept", "kept_share", SHARE),
            Col("Turned by a file", "n_kept_opposite", COUNT),
            Col("Turned here", "n_kept_flipped", COUNT),
            Col("Noise", "estimated_noise", SHARE),
            Col("From", "low", SHARE),
            Col("To", "high", SHARE),
            Col("Upper bound", "expected_noise", SHARE),
            Col("Share lost", "share_lost", SHARE),
            Col("Truth", "true_noise", SHARE),
            Col("Prompts", "n_prompts", COUNT),
            Col("Status", "status", PROSE),
        ],
    )


def _right(row: Row) -> str | None:
    return None if row["is_label_right"] is None else "right" if row["is_label_right"] else "wrong"


def _suspect_table(suspects: pl.DataFrame, study: Study) -> Table:
    truth = [Col("Truth", _right)] if suspects["is_label_right"].drop_nulls().len() else []
    return Table(
        name=study.name("suspect_labels"),
        title=f"The {SHOWN} most suspect labels of each data",
        caption=(
            "Labels that reward models of other folds find least probable, for a person to read: the reward models may "
            "be wrong. Beginnings of the texts; a file of labels names the pairs by their pair_id."
        ),
        rows=suspects.to_dicts(),
        columns=[
            Col("Data", "data_id"),
            Col("Place", "suspect_rank", COUNT),
            Col("p", "p_label", PROBABILITY, "Probability of the label"),
            *truth,
            Col("Prompt", "prompt", PROSE),
            Col("Chosen", "chosen", PROSE),
            Col("Rejected", "rejected", PROSE),
            Col("Pair", "pair_id"),
        ],
        folded=True,
    )
