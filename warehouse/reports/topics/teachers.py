"""Does anything predict what a reward model teaches a policy: published figures, and those measured here."""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl

from warehouse.reports import charts, labels, queries
from warehouse.reports.elements import Figure, Panel, Section, Study
from warehouse.reports.tables import PROSE, TEXT, Col, Format, Table, decimals

PREDICTORS = {
    "reward_variance": "Reward variance",
    "within_variance_raw": "Raw variance within prompts",
    "on_policy_accuracy": "On-policy accuracy",
    "on_policy_accuracy_strict": "On-policy accuracy, strict",
    "on_policy_accuracy_half": "On-policy accuracy, ties half",
    "off_policy_accuracy": "Off-policy accuracy",
    "mean_accuracy": "Mean of the accuracies",
    "variance_and_mean_accuracy": "Variance and accuracies",
    "rewardbench": "RewardBench score",
    "rewardbench2": "RewardBench 2 score",
    "log10_params": "Size, log10 parameters",
    "same_lineage": "Base of the policy's family",
}
TARGETS = {
    "proxy_gain": "Proxy gain",
    "gold_gain": "Gold gain",
    "best_of_16": "Best of 16",
    "ppo": "PPO",
    "best_of_n_gain": "Gold gain of best of n",
    "peak_kl": "KL divergence at the peak",
}
METHODS = {"rloo": "RLOO", "grpo": "GRPO", "best_of_n_distill": "best-of-n distillation"}
REFERENCES = {"on_policy_accuracy": "on-policy accuracy", "rewardbench": "RewardBench"}
MOST_ROWS = 16
"""Most predictors of a chart."""
OVER_POLICIES = {
    "within": "within policies",
    "between": "between policies",
    "pooled": "all rows pooled",
    "centred": "all rows less their policy's mean",
}
COEFFICIENT = Format(lambda value: labels.number(value, 2, signed=True), "number")
P_VALUE = decimals(3)


def section(study: Study) -> Section | None:
    """What holds in a sentence, forest plots, and all correlations; None for a study without such rows."""
    frame = teacher_predictors(study)
    if not frame.height:
        return None
    own, printed = frame.filter(basis="own"), frame.filter(pl.col("basis") != "own")
    figures = (
        _own_figure(own, study),
        _gains_figure(printed, study),
        _downstream_figure(printed, study),
        _printed_figure(printed, study),
    )
    items: list[Figure | Table | None] = [*figures, _comparisons(study), _table(frame, study)]
    paragraphs = (*_own(own), *_what_holds(frame), *_between_policies(frame), *_printed(frame), *_downstream(frame))
    title = "Does anything predict what a reward model teaches?" if own.height else "What is published about teachers"
    return Section("teachers", title, paragraphs, items=tuple(item for item in items if item is not None))


def teacher_predictors(study: Study) -> pl.DataFrame:
    """One row per correlation: computed ones before printed ones, targets and predictors in the order above."""
    return study.read(
        "fct_teacher_predictors",
        "basis, paper_tables, policy, gold, method, selection, target, predictor, n, n_policies, pearson, low, high, "
        "spearman, spearman_low, spearman_high, kendall, critical_pearson, critical_spearman, p_exact, p_shared, "
        "smallest_p, q, note",
        f"basis desc, method desc, list_position({list(TARGETS)}, target), "
        f"list_position({list(PREDICTORS)}, predictor), predictor, gold, "
        f"list_position({list(OVER_POLICIES)}, policy) nulls last, n desc, selection, paper_tables, policy",
        optional=True,
    )


def forest(
    frame: pl.DataFrame, value: str, title: str, tips: charts.Tooltip, means: pl.DataFrame | None
) -> alt.LayerChart:
    """Dots with their intervals, one row per `row`; with means, these in front of faint dots.

    frame, means: row, the column `value`, low, high and value_text, which stands at the right.
    """
    front = frame if means is None else means
    base = charts.row_chart(charts.ranked(front, "row"), "row", tips, alt.Axis(labelLimit=230))
    x = charts.across(value, title, (-1.1, 1.62), values=[-1, -0.5, 0, 0.5, 1])
    layers = [charts.zero(front)]
    if means is not None:
        behind = charts.row_chart(charts.ranked(frame, "row"), "row", tips, alt.Axis(labelLimit=230))
        layers.append(charts.dots(behind, x, "gain", 38))
    else:
        layers.append(charts.whisker(base, "low", "high"))
    layers += [charts.dots(base, x, "best", 80), charts.value_at_right(base, "value_text:N")]
    return charts.layered(layers, 26 * front.height)


def predictor_name(name: str) -> str:
    """A predictor for readers: benchmarks, their categories, and benchmarks of base models by their names."""
    if name in PREDICTORS:
        return PREDICTORS[name]
    if name.startswith("base_"):
        return f"Base model: {name.removeprefix('base_')}"
    if name.startswith("rewardbench_"):
        return f"RewardBench, {labels.TARGETS.get(name.removeprefix('rewardbench_'), name)}"
    return labels.REWARD_BENCHMARKS.get(name, name)


def _over_policies(own: pl.DataFrame) -> pl.DataFrame:
    """One row per gold, method, target and predictor: within policies, or of the one policy that there is."""
    rows = own.filter(pl.col("spearman").is_not_null())
    cell = ["gold", "method", "target", "predictor"]
    alone = (pl.col("policy").is_in(list(OVER_POLICIES)).sum().over(cell) == 0) & (pl.len().over(cell) == 1)
    return rows.filter((pl.col("policy") == "within") | alone)


def _own(own: pl.DataFrame) -> tuple[str, ...]:
    """What variance, accuracy and RewardBench say of each target measured here, with n and interval."""
    sentences = []
    for (method, target, gold), part in _over_policies(own).group_by("method", "target", "gold", maintain_order=True):
        rows = {row["predictor"]: row for row in part.to_dicts()}
        shown = [name for name in ("reward_variance", "on_policy_accuracy", "rewardbench") if name in rows]
        if shown:
            said = labels.listing([f"{_inner(name)} {_rho_interval(rows[name])}" for name in shown])
            found = [_inner(row["predictor"]) for row in part.to_dicts() if (row["q"] or 1) < 0.05]
            what = f"{labels.listing(found, 6)} {'is' if len(found) == 1 else 'are'}" if found else "no predictor is"
            sentences.append(
                f"{_target_name(target, method)}, gold reward {gold}: {said}; n = {rows[shown[0]]['n']} reward models. "
                f"Over all predictors, {what} established (q below 0.05)."
            )
    return ("Rank correlations measured here, with 95 % intervals over base models. " + " ".join(sentences),) * bool(
        sentences
    )


def _inner(name: str) -> str:
    text = predictor_name(name)
    return text if text.startswith("Reward") and text != PREDICTORS["reward_variance"] else text[:1].lower() + text[1:]


def _target_name(target: object, method: object) -> str:
    name = TARGETS.get(str(target), str(target))
    return name if method == "best of n" else f"{name}, {METHODS.get(str(method), method)}"


def _rho_interval(row: dict[str, Any]) -> str:
    ends = labels.interval(row["spearman_low"], row["spearman_high"], 2, signed=True)
    return f"{_rho(row)} ({ends or 'no interval'})"


def _within(frame: pl.DataFrame, method: str = "RLOO") -> dict[tuple[str, str], dict[str, Any]]:
    """The rows within policies by (predictor, target)."""
    rows = frame.filter(policy="within", method=method, basis="published").to_dicts()
    return {(row["predictor"], row["target"]): row for row in rows if row["spearman"] is not None}


def _what_holds(frame: pl.DataFrame) -> tuple[str, ...]:
    within = _within(frame)
    proxy, gold = (within.get(("reward_variance", target)) for target in ("proxy_gain", "gold_gain"))
    if proxy is None or gold is None:
        return ()
    others = [
        f"{PREDICTORS[name].lower().replace('rewardbench', 'RewardBench')} {_rho(within[name, 'gold_gain'])}"
        for name in ("rewardbench", "on_policy_accuracy", "off_policy_accuracy")
        if (name, "gold_gain") in within
    ]
    n, smallest = gold["n"], min(row["p_shared"] for (_, target), row in within.items() if target == "gold_gain")
    possible = "no p below 1/24 is possible" if n == 4 else "few p values are possible"
    return (
        f"Within a policy, reward variance ranks the proxy gain ({_rho(proxy)}, mean rank correlation over "
        f"{proxy['n_policies']} policies) and not the gold gain ({_rho(gold)}); {labels.listing(others)} with the gold "
        f"gain. Only n = {n} reward models are behind these figures: with the reward model as the unit {possible}, "
        f"and the smallest here is {labels.number(smallest, 3)}, so none of them is established.",
    )


def _between_policies(frame: pl.DataFrame) -> tuple[str, ...]:
    rows = {
        row["policy"]: row
        for row in frame.filter(predictor="reward_variance", target="gold_gain", method="RLOO").to_dicts()
    }
    between, pooled, centred = (rows.get(name) for name in ("between", "pooled", "centred"))
    if between is None or pooled is None or centred is None or between["pearson"] is None:
        return ()
    return (
        f"Between policies the two go together: the mean variance and the mean gold gain of {between['n']} policies "
        f"have r = {_r(between)} {_interval(between)}; |r| is significant from "
        f"{labels.number(between['critical_pearson'], 2)} on. That is why all {pooled['n']} rows together show "
        f"{_r(pooled)}, and {_r(centred)} once the mean of each policy is taken off: variance says which policy gains "
        "more, not which reward model teaches it more.",
    )


def _printed(frame: pl.DataFrame) -> tuple[str, ...]:
    printed = frame.filter(pl.col("basis") == "printed", pl.col("target") == "gold_gain")
    if not printed.height:
        return ()
    significant = printed.filter(pl.col("spearman").abs() >= pl.col("critical_spearman")).height
    first = printed.filter(predictor="reward_variance").to_dicts()
    example = (
        f" Of variance, {first[0]['paper_tables']} prints r = {_r(first[0])} {_interval(first[0])}." if first else ""
    )
    n, critical = printed["n"][0], printed["critical_spearman"][0]
    return (
        f"The correlations that the paper prints rest on n = {n} reward models made for the purpose. |rho| is "
        f"significant from {labels.number(critical, 3)} on; of its {printed.height} rank correlations with the gold "
        f"gain {significant or 'none'} {'reach' if significant else 'reaches'} that.{example}",
    )


def _downstream(frame: pl.DataFrame) -> tuple[str, ...]:
    rows = {(row["target"], row["selection"]): row for row in frame.filter(predictor="rewardbench2").to_dicts()}
    best, ppo = rows.get(("best_of_16", "all")), rows.get(("ppo", "all"))
    without, own = rows.get(("ppo", "without flipped labels")), rows.get(("ppo", "own lineage"))
    if best is None or ppo is None or without is None or own is None:
        return ()
    return (
        f"The score on RewardBench 2 goes with the result by best of 16 (r = {_r(best)} {_interval(best)}, n = "
        f"{best['n']} reward models). With the result of PPO it shows r = {_r(ppo)} {_interval(ppo)}, which "
        f"{ppo['n'] - without['n']} reward models trained on flipped labels make: their rank correlation is "
        f"{labels.number(ppo['spearman'], 2, signed=True)}, and without them r = {_r(without)} {_interval(without)}. "
        f"Among the {own['n']} of the policy's own lineage and prompts r = {_r(own)} {_interval(own)}.",
    )


def _rho(row: dict[str, Any]) -> str:
    return labels.number(row["spearman"], 2, signed=True)


def _r(row: dict[str, Any]) -> str:
    return labels.number(row["pearson"], 2, signed=True)


def _interval(row: dict[str, Any]) -> str:
    return f"[{labels.number(row['low'], 2)}, {labels.number(row['high'], 2)}]"


_TIPS = (
    ("row:N", "Predictor"),
    ("policy:N", "Policy"),
    ("spearman:Q", "Spearman", "+.2f"),
    ("pearson:Q", "Pearson", "+.2f"),
    ("n:Q", "n"),
)


def _own_figure(own: pl.DataFrame, study: Study) -> Figure | None:
    """Rank correlations measured here with their intervals, and pale dots for published ones of the same predictor."""
    found = _over_policies(own).with_columns(
        charts.named("spearman", lambda value: labels.number(value, 2, signed=True), "value_text")
    )
    published = _published(study)
    panels = []
    for (method, target, gold), part in found.group_by("method", "target", "gold", maintain_order=True):
        rows = _with_rows(part.head(MOST_ROWS))
        mine = published.filter(pl.col("target") == target, pl.col("predictor").is_in(rows["predictor"].to_list()))
        title = f"{_target_name(target, method)}, gold {gold}"
        said = labels.listing([f"{row['row']} {_rho_interval(row)}" for row in rows.to_dicts()])
        label = f"Rank correlation of predictors with the target {title}: {said}."
        panels.append(Panel(title=title, label=label, chart=_own_chart(rows, _with_rows(mine))))
    if not panels:
        return None
    n = sorted(set(found["n"]))
    return Figure(
        name=study.name("teachers_own"),
        title="Does a property of a reward model rank what it teaches here?",
        caption=(
            f"Spearman's rank correlation over n = {n[0] if len(n) == 1 else f'{n[0]} to {n[-1]}'} reward models, mean "
            "of the policies, with a 95 % interval by a bootstrap over base models; no line: too few base models. Pale "
            f"dots: published (n = 4, arXiv 2503.15477). At most {MOST_ROWS} predictors are drawn; the table has all."
        ),
        panels=tuple(panels),
        key="Spearman's rank correlation; lines: 95 % intervals; pale: published",
        columns=2,
        panel_width=420,
    )


def _own_chart(rows: pl.DataFrame, published: pl.DataFrame) -> alt.LayerChart:
    front = charts.ranked(rows, "row")
    base = charts.row_chart(front, "row", _TIPS, alt.Axis(labelLimit=230))
    x = charts.across("spearman", "Spearman's rank correlation", (-1.1, 1.62), values=[-1, -0.5, 0, 0.5, 1])
    layers = [charts.zero(front)]
    if published.height:
        places = front.select("row", "row_position").unique("row")
        behind = published.join(places, on="row", how="inner", maintain_order="left")
        layers.append(charts.dots(charts.row_chart(behind, "row", _TIPS, alt.Axis(labelLimit=230)), x, "gain", 50))
    drawn = base.transform_filter("isValid(datum.spearman_low)")
    layers += [charts.whisker(drawn, "spearman_low", "spearman_high"), charts.dots(base, x, "best", 80)]
    return charts.layered([*layers, charts.value_at_right(base, "value_text:N")], 26 * front.height)


def _published(study: Study) -> pl.DataFrame:
    """Published correlations within policies by RLOO, of whichever study lists them."""
    columns = "policy, target, predictor, n, pearson, spearman"
    where: dict[str, str | bool] = {"basis": "published", "policy": "within", "method": "RLOO"}
    found = queries.read(study.connection, "fct_teacher_predictors", columns, where, "target, predictor, study_id")
    return found.filter(pl.col("spearman").is_not_null()).unique(["target", "predictor"], maintain_order=True)


def _comparisons(study: Study) -> Table | None:
    """Every predictor beside accuracy and RewardBench: what it adds."""
    frame = study.read(
        "fct_teacher_predictor_comparisons",
        "gold, method, target, policy, predictor, reference, n, n_policies, spearman, reference_spearman, difference, "
        "low, high, partial_spearman, partial_low, partial_high, note",
        f"list_position({list(TARGETS)}, target), method, gold, reference, "
        f"list_position({list(PREDICTORS)}, predictor), predictor",
        optional=True,
    )
    if frame.is_empty():
        return None
    return Table(
        name=study.name("teacher_predictor_comparisons"),
        title="Does a predictor add to another?",
        caption=(
            "Difference: Spearman's rank correlation of the predictor minus that of the reference, over the reward "
            "models that have both, in the same resamples of base models. Given the reference: rank correlation with "
            "what the reference leaves; an interval above 0 means that the predictor adds to it."
        ),
        rows=frame.to_dicts(),
        columns=[
            Col("Predictor", lambda row: predictor_name(row["predictor"])),
            Col("Reference", lambda row: REFERENCES.get(row["reference"], row["reference"])),
            Col("Target", lambda row: _target_name(row["target"], row["method"])),
            Col("Gold", "gold", TEXT),
            Col("n", "n", decimals(0)),
            Col("Predictor's", "spearman", COEFFICIENT),
            Col("Reference's", "reference_spearman", COEFFICIENT),
            Col("Difference", "difference", COEFFICIENT, note=lambda row: _ends(row["low"], row["high"])),
            Col(
                "Given the reference",
                "partial_spearman",
                COEFFICIENT,
                note=lambda row: _ends(row["partial_low"], row["partial_high"]),
            ),
            Col("Note", "note", PROSE),
        ],
    )


def _ends(low: float | None, high: float | None) -> str:
    return labels.interval(low, high, 2, signed=True)


def _gains_figure(frame: pl.DataFrame, study: Study) -> Figure | None:
    """Rank correlations within policies: faint dots for single policies, their mean in front."""
    published = frame.filter(pl.col("basis") == "published", pl.col("gold") != "downstream benchmarks")
    single = published.filter(~pl.col("policy").is_in(list(OVER_POLICIES)), pl.col("spearman").is_not_null())
    means = published.filter(pl.col("policy") == "within", pl.col("spearman").is_not_null()).with_columns(
        charts.named("spearman", lambda value: labels.number(value, 2, signed=True), "value_text")
    )
    panels = []
    for (method, target), part in means.group_by("method", "target", maintain_order=True):
        rows = [_with_rows(one.filter(method=method, target=target)) for one in (single, part)]
        said = [f"{row['row']} {_rho(row)}" for row in rows[1].to_dicts()]
        panels.append(
            Panel(
                title=f"{TARGETS.get(str(target), str(target))}, {method}",
                label=f"Rank correlation of predictors with the {target}, {method}: {labels.listing(said)}.",
                chart=forest(rows[0], "spearman", "Spearman's rank correlation", _TIPS, rows[1]),
            )
        )
    if not panels:
        return None
    return Figure(
        name=study.name("teachers_within"),
        title="Does a property of a reward model rank what it teaches?",
        caption=(
            f"Spearman's rank correlation over the n = {means['n'][0]} reward models that taught each policy: pale "
            "dots are policies, dark dots and figures at the right their mean. So few reward models allow no interval; "
            "all tests are in the table."
        ),
        panels=tuple(panels),
        key="Rank correlation with the gain; pale: single policies, dark: their mean",
        columns=2,
        panel_width=420,
    )


def _downstream_figure(frame: pl.DataFrame, study: Study) -> Figure | None:
    """Pearson's r of RewardBench 2 with what its reward models are worth, with Fisher's interval."""
    rows = _with_text(frame.filter(pl.col("predictor") == "rewardbench2")).with_columns(
        pl.format("{} (n = {})", "selection", "n").alias("row")
    )
    return _interval_figure(
        rows, study, "teachers_downstream", "Does the score on RewardBench 2 say what a reward model is worth?"
    )


def _printed_figure(frame: pl.DataFrame, study: Study) -> Figure | None:
    """Printed coefficients with Fisher's interval."""
    rows = _with_rows(_with_text(frame.filter(pl.col("basis") == "printed"))).with_columns(
        pl.format("{}, {}", "row", "paper_tables").alias("row")
    )
    return _interval_figure(rows, study, "teachers_printed", "Correlations that the paper prints")


def _interval_figure(rows: pl.DataFrame, study: Study, name: str, title: str) -> Figure | None:
    panels = [
        Panel(
            title=TARGETS.get(str(target), str(target)),
            label=f"Pearson's r with the {target}: {_coefficients(part)}.",
            chart=forest(part, "pearson", "Pearson's r", _TIPS, None),
        )
        for (target,), part in rows.group_by("target", maintain_order=True)
    ]
    if not panels:
        return None
    counts = sorted(set(rows["n"]))
    n = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return Figure(
        name=study.name(name),
        title=title,
        caption=(
            f"Pearson's r, with Fisher's 95 % interval as lines; n = {n} reward models. Each reward model was trained "
            "once, so that the noise of a training run is not in the intervals."
        ),
        panels=tuple(panels),
        key="Pearson's r; lines: 95 % intervals (Fisher)",
        columns=2,
        panel_width=420,
    )


def _coefficients(part: pl.DataFrame) -> str:
    return labels.listing([f"{row['row']} {_r(row)} {_interval(row)}" for row in part.to_dicts()])


def _with_rows(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(charts.named("predictor", predictor_name, "row"))


def _with_text(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(charts.named("pearson", lambda value: labels.number(value, 2, signed=True), "value_text"))


def _table(frame: pl.DataFrame, study: Study) -> Table:
    return Table(
        name=study.name("teacher_predictors"),
        title="All correlations",
        caption=(
            "p exact: Spearman's rho under all permutations, for more than 8 cases under 10,000. p shared: the mean "
            "within policies, under the same permutation of the reward models in every policy. q: Benjamini and "
            "Hochberg over the tests of a target. Fewer than 6 cases are listed without a test."
        ),
        rows=frame.to_dicts(),
        columns=[
            Col("Target", lambda row: TARGETS.get(row["target"], row["target"])),
            Col("Predictor", lambda row: predictor_name(row["predictor"])),
            Col("Policy", lambda row: OVER_POLICIES.get(row["policy"], row["policy"]), TEXT),
            Col("Method", lambda row: METHODS.get(row["method"], row["method"]), TEXT),
            Col("Gold", "gold", TEXT),
            Col("Reward models", "selection", TEXT),
            Col("n", "n", decimals(0)),
            Col("Pearson", "pearson", COEFFICIENT),
            Col("from", "low", COEFFICIENT, "95 % interval: Fisher's; of what was measured here over base models"),
            Col("to", "high", COEFFICIENT),
            Col(
                "Spearman",
                "spearman",
                COEFFICIENT,
                "below: 95 % interval over base models",
                note=lambda row: _ends(row["spearman_low"], row["spearman_high"]),
            ),
            Col("Kendall", "kendall", COEFFICIENT),
            Col("Critical rho", "critical_spearman", decimals(3), "smallest |rho| with p of 0.05 or less"),
            Col("p exact", "p_exact", P_VALUE),
            Col("p shared", "p_shared", P_VALUE),
            Col("q", "q", P_VALUE),
            Col("Tables", "paper_tables", TEXT, "of the paper; none: measured here"),
            Col("Note", "note", PROSE),
        ],
    )
