"""Is a reward model a good teacher of a policy? Measured on the policy's responses: spread, best of n, ensembles."""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl

from warehouse.reports import charts, labels
from warehouse.reports.elements import Figure, Panel, Section, Study
from warehouse.reports.queries import MOST_DRAWN, parts
from warehouse.reports.tables import COUNT, MODEL, PROSE, SHARE, TEXT, Col, Row, Table, decimals

MOST_POLICIES = 8
"""Most policies with a table and a chart of their own."""
MOST_ROWS = 24
"""Most rows of a chart of ensembles."""
FORMULAS = {
    "mean": "mean",
    "min": "minimum",
    "uwo": "mean − 0.5 variance",
    "mean_minus_std": "mean − sd",
    "median": "median",
    "soft_min": "soft minimum",
}
OVER = {"seeds": "seeds", "bases": "base models", "objectives": "objectives"}
FITS = {
    "inner_peak": "a peak within the range measured",
    "beyond_range": "a peak beyond it",
    "rising": "rising throughout",
    "falling": "falling from the start",
    "poor_fit": "no such form",
    "flat": "no change",
}
_TWO, _SIGNED = decimals(2), decimals(2, signed=True)


def section(study: Study) -> Section | None:
    """Sentences, a table and curves per policy, fits and ensembles; None for a study without responses."""
    properties, chosen = teacher_properties(study), best_of_n(study)
    if not properties.height or not chosen.height:
        return None
    ensembles, fits = ensemble_values(study), overoptimisation(study)
    known = properties.select("cell").unique(maintain_order=True)["cell"].to_list()
    cells = known[:MOST_POLICIES]
    tables = [_table(properties.filter(cell=cell), chosen.filter(cell=cell), cell, study) for cell in cells]
    items = (
        *tables,
        _curves(chosen.filter(pl.col("cell").is_in(cells)), study),
        _fits(fits.filter(pl.col("cell").is_in(known)), study),
        _ensembles(ensembles.filter(pl.col("cell").is_in(cells)), study),
        _ensemble_table(ensembles.filter(pl.col("cell").is_in(known)), study),
        _uncertainty(uncertainties(study).filter(pl.col("cell").is_in(known)), study),
    )
    return Section(
        "good-teacher",
        "A good teacher?",
        (SUMMARY, COLUMNS, *_best(chosen, cells), *_variance(study), *_more(known)),
        items=tuple(item for item in items if item is not None),
    )


SUMMARY = (
    "A reward model can be accurate and still teach badly: where it gives all responses to a prompt nearly the same "
    "reward, a policy learns nothing from it, and where it errs, a policy learns the errors. These figures are over "
    "the policy's own responses, compared with a gold reward, which is taken for the truth. Fewer than 8 prompts have "
    "no interval."
)
COLUMNS = (
    "Accuracy: share of the pairs of a prompt's responses that a reward orders as the gold does, mean over prompts, "
    "where equal under both counts as right; strict: of all pairs that differ under the gold, equal rewards not won. "
    "Variance: about the share of a reward's variance that is within prompts. Length: correlation of the reward with "
    "the bytes of the response, within prompts."
)
ACCURACIES = {"on_policy_accuracy": "Accuracy", "on_policy_accuracy_strict": "Strict"}
CELL = "policy_id || ', ' || prompt_set || ', gold: ' || gold_id as cell"
ORDER = "policy_id, prompt_set, gold_id"


def teacher_properties(study: Study) -> pl.DataFrame:
    """One row per policy, prompt set, gold and reward."""
    return study.read(
        "fct_teacher_properties",
        f"{CELL}, policy_id, reward_id, is_gold, n_prompts, n_prompts_left_out, n_responses, "
        "reward_variance, reward_variance_low, reward_variance_high, within_variance_raw, on_policy_accuracy, "
        "on_policy_accuracy_low, on_policy_accuracy_high, on_policy_accuracy_strict, on_policy_accuracy_strict_low, "
        "on_policy_accuracy_strict_high, off_policy_accuracy, rewardbench_score, length_correlation, "
        "length_correlation_low, length_correlation_high, share_without_spread, status",
        f"{ORDER}, reward_id",
        optional=True,
    )


def best_of_n(study: Study) -> pl.DataFrame:
    """One row per policy, prompt set, gold, reward and n."""
    return study.read(
        "fct_best_of_n",
        f"{CELL}, reward_id, selection, n, n_pool, n_prompts, proxy_gain_sd, gold_gain_sd, gold_gain, low, high, "
        "headroom_share, headroom_low, headroom_high, behind_best, behind_best_low, sqrt(kl_bound) as distance, "
        "is_small_pool, status",
        f"{ORDER}, n, gold_gain desc nulls last, reward_id",
        optional=True,
    )


def overoptimisation(study: Study) -> pl.DataFrame:
    """One row per policy, prompt set, gold and reward with the fit of its curve."""
    return study.read(
        "fct_overoptimisation",
        f"{CELL}, reward_id, alpha, alpha_low, alpha_high, beta, beta_low, beta_high, n_peak, gold_peak, "
        "gold_at_largest, drop_after_peak, rmse, share_of_resamples, status, interval_status",
        f"{ORDER}, reward_id",
        {"method": "best_of_n"},
    )


def ensemble_values(study: Study) -> pl.DataFrame:
    """One row per ensemble, formula, metric, policy, prompt set and gold."""
    return study.read(
        "fct_ensembles",
        f"{CELL}, ensemble_id, over, formula, n_members, metric, n_best_of, value, low, high, mean_member_value, "
        "difference_to_mean, difference_to_mean_low, difference_to_mean_high, difference_to_best, "
        "difference_to_best_low, difference_to_best_high, n_prompts, status",
        f"{ORDER}, list_position({list(OVER)}, over), ensemble_id, list_position({list(FORMULAS)}, formula), metric",
    )


def uncertainties(study: Study) -> pl.DataFrame:
    """One row per policy, prompt set, gold, and reward model or ensemble."""
    return study.read(
        "fct_reward_uncertainty",
        f"{CELL}, reward_id, n_members, n_prompts, n_pairs, accuracy, ece, ece_low, ece_high, brier, confident_true, "
        "confident_false, accuracy_at_50, accuracy_at_50_low, accuracy_at_50_high, accuracy_at_80, "
        "accuracy_at_80_low, accuracy_at_80_high, aurc, status",
        f"{ORDER}, n_members, reward_id",
    )


def _largest(chosen: pl.DataFrame) -> pl.DataFrame:
    """The rows of the largest n of each cell."""
    return chosen.filter(pl.col("n") == pl.col("n").max().over("cell"))


def _best(chosen: pl.DataFrame, cells: list[str]) -> tuple[str, ...]:
    """Of each policy the reward model whose choice gains most, and those that cannot be told apart from it."""
    said = []
    for cell in cells:
        rows = _largest(chosen.filter(cell=cell, selection="reward")).filter(pl.col("gold_gain").is_not_null())
        if not rows.height:
            continue
        best, *others = rows.to_dicts()
        if best["low"] is None:
            said.append(f"{cell}: {best['n_prompts']} prompts are too few to compare reward models on.")
            continue
        alike = [row["reward_id"] for row in others if row["behind_best_low"] is None or row["behind_best_low"] <= 0]
        end = f"; not told apart from it: {labels.listing(alike, 6)}" if alike else ""
        apart = (
            f"; {labels.plural(len(others) - len(alike), 'other')} clearly behind" if len(alike) < len(others) else ""
        )
        said.append(
            f"{cell}: choosing the best of {best['n']} by {best['reward_id']} gains {_signed(best['gold_gain'])} "
            f"({_interval(best, 'low', 'high')}){_headroom(best)}{apart}{end}."
        )
    return tuple(said)


def _headroom(row: Row) -> str:
    share = row["headroom_share"]
    return "" if share is None else f", {labels.percent(share)} of what the gold itself would gain"


def _variance(study: Study) -> tuple[str, ...]:
    """Whether variance says what a reward model gains here; nothing where it was not computed."""
    frame = study.read(
        "fct_teacher_predictors",
        "policy, n, columns('^spearman(_low|_high)?$')",
        "policy",
        {"basis": "own", "predictor": "reward_variance", "target": "best_of_n_gain"},
        optional=True,
    )
    rows = frame.filter(pl.col("spearman").is_not_null()).to_dicts() if frame.width else []
    said = []
    for row in rows:
        if row["policy"] in ("within", "between", "pooled", "centred"):
            continue
        low, high = row.get("spearman_low"), row.get("spearman_high")
        if low is None or high is None:
            verdict, reach = "does not clearly predict", "no interval"
        else:
            verdict = "predicts" if low > 0 or high < 0 else "does not clearly predict"
            reach = f"95 % interval {_signed(low)} to {_signed(high)}"
        said.append(
            f"{row['policy']}: reward variance {verdict} the gold gain of best of n here, rank correlation "
            f"{_signed(row['spearman'])}, n = {row['n']} reward models, {reach}."
        )
    return tuple(said)


def _more(known: list[str]) -> tuple[str, ...]:
    if len(known) <= MOST_POLICIES:
        return ()
    return (f"The first {MOST_POLICIES} of {len(known)} policies are shown; all are in fct_teacher_properties.",)


def _signed(value: float) -> str:
    return labels.number(value, 2, signed=True)


def _interval(row: Row, low: str, high: str, digits: int = 2) -> str:
    return "" if row[low] is None else f"{labels.number(row[low], digits)} to {labels.number(row[high], digits)}"


def _with_interval(heading: str, column: str, low: str, high: str, format: Any = _TWO, hint: str = "") -> Col:
    return Col(heading, column, format, hint, note=lambda row: _interval(row, low, high))


def _table(properties: pl.DataFrame, chosen: pl.DataFrame, cell: str, study: Study) -> Table:
    largest = _largest(chosen).select("reward_id", "gold_gain", "low", "high", "headroom_share", "n", "is_small_pool")
    rows = properties.join(largest, on="reward_id", how="left").sort(
        "is_gold", "gold_gain", "reward_id", descending=[True, True, False], nulls_last=True
    )
    n = largest["n"][0] if largest.height else 1
    first = properties.filter(pl.col("n_prompts") > 0).to_dicts()
    counted = (
        f"{first[0]['n_prompts']} prompts with {first[0]['n_responses']} responses; {first[0]['n_prompts_left_out']} "
        "prompts are left out, because a reward of theirs is missing. "
        if first
        else ""
    )
    small = " There are fewer than twice as many responses to a prompt, so that few draws are behind the gain."
    is_small = bool(largest.height and largest["is_small_pool"][0])
    return Table(
        study.name("good_teacher", cell),
        cell,
        f"{counted}Second lines: 95 % intervals over prompts. Gain: of the gold, in its unit, by choosing the best of "
        f"{n} responses.{small if is_small else ''}",
        rows.to_dicts(),
        [
            Col("Reward", "reward_id", MODEL, prefix=lambda row: "gold: " if row["is_gold"] else ""),
            _with_interval(f"Gain, best of {n}", "gold_gain", "low", "high", _SIGNED),
            Col("Of the gold's", "headroom_share", SHARE, "share of what the gold itself would gain by choosing"),
            *(_with_interval(heading, name, f"{name}_low", f"{name}_high") for name, heading in ACCURACIES.items()),
            _with_interval("Variance", "reward_variance", "reward_variance_low", "reward_variance_high"),
            _with_interval(
                "Length", "length_correlation", "length_correlation_low", "length_correlation_high", _SIGNED
            ),
            Col("Raw variance", "within_variance_raw", decimals(3), "within prompts, in the reward's unit squared"),
            Col("Off-policy", "off_policy_accuracy", _TWO, "accuracy on the responses of the other policies"),
            Col("RewardBench (%)", "rewardbench_score", decimals(1)),
            Col("Remark", lambda row: None if row["status"] == "ok" else row["status"], PROSE),
        ],
    )


def curve_chart(frame: pl.DataFrame) -> alt.LayerChart:
    """Gain of best of n against the distance; frame: rows of `best_of_n` of one cell, selection reward or oracle."""
    top = _largest(frame.filter(selection="reward"))["reward_id"]
    best = top[0] if len(top) else None
    long = frame.unpivot(
        on=["gold_gain_sd", "proxy_gain_sd"],
        index=["reward_id", "selection", "n", "distance"],
        variable_name="what",
        value_name="gain",
    ).filter(pl.col("gain").is_not_null())
    kind = (
        pl.when(pl.col("selection") == "oracle")
        .then(pl.lit("oracle"))
        .when(pl.col("reward_id") == best)
        .then(pl.lit("best"))
        .otherwise(pl.lit("other"))
    )
    side = pl.when(pl.col("what") == "gold_gain_sd").then(pl.lit("gold")).otherwise(pl.lit("own reward"))
    long = long.with_columns(kind.alias("kind"), side.alias("side"))
    long = long.filter((pl.col("kind") != "oracle") | (pl.col("side") == "gold"))
    tips: charts.Tooltip = (
        ("reward_id:N", "Reward"),
        ("side:N", "Measured by"),
        ("n:Q", "n"),
        ("distance:Q", "Distance (√nats)", ".2f"),
        ("gain:Q", "Gain (standard deviations)", "+.2f"),
    )
    x = alt.X("distance:Q", title="Square root of the KL bound (√nats)", axis=alt.Axis(grid=False, tickCount=6))
    y = alt.Y("gain:Q", title="Gain (standard deviations)")
    base = alt.Chart(long).encode(x=x, y=y, detail=["reward_id:N", "side:N"], tooltip=charts.tooltip(tips))
    styles = {
        "datum.kind === 'other' && datum.side !== 'gold'": "faint-loss",
        "datum.kind === 'other' && datum.side === 'gold'": "faint-whisker",
        "datum.kind === 'oracle'": "chance",
        "datum.kind === 'best' && datum.side !== 'gold'": "loss-line",
        "datum.kind === 'best' && datum.side === 'gold'": "gain-line",
    }
    lines = [base.transform_filter(test).mark_line(style=style) for test, style in styles.items()]
    colour = {"datum.side === 'gold'": "strong-gain", "datum.side !== 'gold'": "strong-loss"}
    dots = [
        base.transform_filter(f"datum.kind === 'best' && {test}").mark_point(
            style=style, filled=True, size=34, opacity=1
        )
        for test, style in colour.items()
    ]
    return charts.layered([*lines, *dots], 240)


def _curves(chosen: pl.DataFrame, study: Study) -> Figure:
    panels = []
    for cell, part in parts(chosen.filter(pl.col("selection") != "chance"), "cell"):
        usable = part.filter(pl.col("gold_gain_sd").is_not_null())
        if usable["n"].n_unique() < 2 or not usable.filter(selection="reward").height:
            continue
        best = _largest(usable.filter(selection="reward")).to_dicts()[0]
        panels.append(
            Panel(
                cell,
                f"Line chart: gain of best of n by {usable['reward_id'].n_unique()} rewards against the distance. At "
                f"n = {best['n']} the choice by {best['reward_id']} gains {_signed(best['gold_gain_sd'])} standard "
                f"deviations of the gold and {_signed(best['proxy_gain_sd'])} of its own.",
                curve_chart(usable),
            )
        )
    return Figure(
        name=study.name("best_of_n"),
        title="What choosing the best of n gains, by the reward itself and by the gold",
        caption=(
            "Blue: gain under the gold reward; orange: under the reward that chooses; each in its own standard "
            "deviations over all responses, so that the distance between the two is the reward's exaggeration. Strong: "
            "the reward model whose choice gains most at the largest n; pale: all others; dotted: the gold itself "
            "chooses. The axis is the square root of log n − (n − 1)/n, a bound of the KL divergence from the policy."
        ),
        panels=tuple(panels),
        empty="No policy has two responses to a prompt that rewards differ on, so there is no curve.",
        columns=2,
        panel_width=420,
        key="Blue: gold, orange: own reward; strong: best reward model; dotted: the gold chooses",
    )


def _fits(fits: pl.DataFrame, study: Study) -> Table | None:
    if not fits.height:
        return None
    return Table(
        study.name("overoptimisation"),
        "Where choosing harder stops helping",
        "Gold gain fitted by d (α − β d), with d the square root of the KL bound, over all n from 2. β above 0: the "
        "gain flattens, and past the peak a higher reward means a lower gold. Second lines: 95 % intervals, the fit "
        "repeated in every resample of prompts. A shape is open where fewer than 95 % of the resamples have it.",
        fits.to_dicts(),
        [
            Col("Reward", "reward_id", MODEL),
            Col("Policy", "cell"),
            Col("Shape", _shape, PROSE),
            _with_interval("α", "alpha", "alpha_low", "alpha_high", decimals(3)),
            _with_interval("β", "beta", "beta_low", "beta_high", decimals(3)),
            Col("n at the peak", "n_peak", decimals(1)),
            Col("Gain there", lambda row: row["gold_peak"] if row["status"] == "inner_peak" else None, _SIGNED),
            Col("Gain at largest n", "gold_at_largest", _SIGNED),
            Col("Fall after the peak", "drop_after_peak", _TWO),
        ],
    )


def _shape(row: Row) -> str:
    name, share = FITS.get(row["status"], str(row["status"])), row["share_of_resamples"]
    is_open = share is not None and share < 0.95
    return f"open: {name} in {labels.percent(share)} of the resamples" if is_open else name


def difference_chart(frame: pl.DataFrame, domain: charts.Range) -> alt.LayerChart:
    """Differences with intervals, one row per `row`; frame: row, value, low, high."""
    frame = charts.ranked(frame, "row").with_columns(
        charts.named("value", lambda value: labels.number(value, 3, signed=True), "value_text")
    )
    tips: charts.Tooltip = (
        ("row:N", "Ensemble"),
        ("value:Q", "Difference", "+.3f"),
        ("low:Q", "95 % interval, low", "+.3f"),
        ("high:Q", "95 % interval, high", "+.3f"),
    )
    base = charts.row_chart(frame, "row", tips, alt.Axis(labelLimit=300))
    x = charts.across("value", "Difference in gold gain", domain, tickCount=4)
    layers = [charts.zero(frame), charts.whisker(base, "low", "high"), charts.dots(base, x, "best", 60)]
    return charts.layered([*layers, charts.value_at_right(base, "value_text:N")], 22 * frame.height)


def _ensembles(ensembles: pl.DataFrame, study: Study) -> Figure | None:
    """Gold gain of ensembles by their mean and minimum, less that of their members."""
    drawn = ensembles.filter(
        pl.col("metric") == "gold_gain", pl.col("formula").is_in(["mean", "min"]), pl.col("value").is_not_null()
    ).with_columns(_ensemble_name().alias("row"))
    if not drawn.height:
        return None
    panels = []
    for cell, part in parts(drawn, "cell"):
        for stem, title in (("mean", "minus their mean member"), ("best", "minus the member chosen on other prompts")):
            names = [f"difference_to_{stem}", f"difference_to_{stem}_low", f"difference_to_{stem}_high"]
            rows = part.head(MOST_ROWS).select(
                "row", *(pl.col(old).alias(new) for old, new in zip(names, ("value", "low", "high"), strict=True))
            )
            values = [value for column in ("value", "low", "high") for value in rows[column].to_list()]
            said = [f"{row['row']} {_signed(row['value'])}" for row in rows.to_dicts()]
            domain = charts.padded([0.0, *values], 0.05, 0.02, 5.0)
            text = f"Dots with intervals: gold gain of ensembles {title}. {labels.listing(said)}."
            panels.append(Panel(f"{cell}: {title}", text, difference_chart(rows, domain)))
    n = max(drawn["n_best_of"])
    return Figure(
        name=study.name("ensembles"),
        title="Ensembles against their members",
        caption=(
            f"Gold gain of choosing the best of {n} by an ensemble, less that by its members: their mean, and the one "
            "that is best on the other half of the prompts, over 20 halvings. Lines: 95 % intervals over prompts, "
            "paired. Members are z-scored on the policy's responses; other formulas are in the table."
        ),
        panels=tuple(panels[:MOST_DRAWN]),
        columns=2,
        panel_width=420,
        key="Difference in gold gain; lines: 95 % intervals over prompts",
    )


def _ensemble_name() -> pl.Expr:
    short = pl.col("ensemble_id").str.strip_prefix("ensemble:")
    return pl.format("{}: {}", short, pl.col("formula").replace(FORMULAS))


METRICS = {
    "on_policy_accuracy": "on-policy accuracy",
    "on_policy_accuracy_strict": "on-policy accuracy, strict",
    "gold_gain": "gold gain",
}


def _ensemble_table(ensembles: pl.DataFrame, study: Study) -> Table | None:
    if not ensembles.height:
        return None
    mean, best = (
        _with_interval(
            heading, f"difference_to_{name}", f"difference_to_{name}_low", f"difference_to_{name}_high", _SIGNED
        )
        for heading, name in (("Less the mean member", "mean"), ("Less the chosen member", "best"))
    )
    return Table(
        study.name("ensemble_values"),
        "All ensembles",
        "The chosen member is the one that is best on one half of the prompts, compared on the other half.",
        ensembles.to_dicts(),
        [
            Col("Ensemble", "ensemble_id", MODEL),
            Col("Members", "n_members", COUNT),
            Col("Formula", lambda row: FORMULAS.get(row["formula"], row["formula"]), TEXT),
            Col("Policy", "cell"),
            Col("Figure", lambda row: METRICS.get(row["metric"], row["metric"]), TEXT),
            _with_interval("Value", "value", "low", "high"),
            mean,
            best,
            Col("Remark", lambda row: None if row["status"] == "ok" else row["status"], PROSE),
        ],
    )


def _uncertainty(frame: pl.DataFrame, study: Study) -> Table | None:
    if not frame.height:
        return None
    return Table(
        study.name("reward_uncertainty"),
        "Do reward models know when they are wrong?",
        "Pairs of responses that the gold orders. Calibration error: distance of sigmoid(margin) from the share won, "
        "in 20 bins, for log-odds only. Confident: the bounds of the members do not overlap. Accuracy where the pairs "
        "that the members agree on least are left undecided.",
        frame.to_dicts(),
        [
            Col("Reward or ensemble", "reward_id", MODEL),
            Col("Policy", "cell"),
            Col("Members", "n_members", COUNT),
            Col("Pairs", "n_pairs", COUNT),
            Col("Accuracy", "accuracy", _TWO),
            _with_interval("Calibration error", "ece", "ece_low", "ece_high"),
            Col("Brier", "brier", _TWO),
            Col("Confident and right", "confident_true", _TWO),
            Col("Confident and wrong", "confident_false", _TWO),
            _with_interval("Accuracy, half decided", "accuracy_at_50", "accuracy_at_50_low", "accuracy_at_50_high"),
            _with_interval("Four fifths", "accuracy_at_80", "accuracy_at_80_low", "accuracy_at_80_high"),
            Col("Remark", lambda row: None if row["status"] == "ok" else row["status"], PROSE),
        ],
    )
