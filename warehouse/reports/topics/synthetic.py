"""Truth against estimate: errors of the estimates, for synthetic studies with known truth.

Correlations lie between -1 and 1, 1 always good; accuracies are in percent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import altair as alt
import polars as pl

from warehouse.reports import charts, labels
from warehouse.reports.elements import Figure, Panel, Section, Study
from warehouse.reports.queries import BY_OBJECTIVE, parts
from warehouse.reports.tables import COUNT, MODEL, OBJECTIVE, Col, Format, Row, Table, decimals

WITHIN, POOLED = "within cells", "pooled"
CORRELATIONS: charts.Range = (-1.0, 1.0)
_KINDS = (
    "list_position(['presence_score', 'bits_per_byte', 'centred_presence_score', 'centred_bits_per_byte'], score_kind)"
)
_CHECKS = (
    "list_position(['domain_share', 'domain_tokens', 'mix_distance_all_documents', 'mix_distance_domain_wise', "
    "'mix_distance_centred_means', 'budget_distance_all_documents', 'budget_distance_domain_wise', "
    "'budget_distance_centred_means', 'merge_search', 'merge_weights', 'learning_rate', 'variance'], check_name)"
)
_CELLS = f"list_position(['{WITHIN}', '{POOLED}'], cell) nulls last"
_DISTANCES = {
    "all_documents": "Jensen-Shannon, all documents",
    "domain_wise": "Jensen-Shannon, mean of the domains",
    "centred_means": "Euclidean, centred domain means",
}
_TRUTHS = {"domain_share": "share of a domain", "domain_tokens": "tokens of a domain"} | {
    f"{truth}_{name}": f"{words}, by {_DISTANCES[name]}"
    for truth, words in (("mix_distance", "distance of mixes"), ("budget_distance", "difference of budgets"))
    for name in _DISTANCES
}
_INTERVALS = (
    "Dots are the values, lines their 95 % intervals from 2,000 resamples of the mixes, hollow diamonds what an oracle "
    "gets"
)
_ONE_IS_GOOD = "1 is always good: the sign of bits per byte is turned, because smaller is better there"
_SEARCHES = {"merge_search": "merge search", "merge_weights": "merge search", "learning_rate": "rate search"}
_STATISTICS = {
    "points_won": "test pairs won more, points",
    "cosine": "cosine with the true weights",
    "accuracy": "accuracy, percent",
    "gain_points": "gain, points",
}
_BASELINES = {
    "equal_weights": "equal weights",
    "true_weights": "weights behind the preferences",
    "mean_rate": "mean rate",
    "no_gain": "no gain",
}


def section(study: Study) -> Section | None:
    """Scores of documents against the true mixes; None for a study without a known truth."""
    checks = truth_checks(study)
    if not checks.height:
        return None
    mixes, settings = true_mixes(study), lab_settings(study)
    items = (
        _share_figure(checks, study),
        _distance_figure(checks, study),
        _variance_table(checks, study),
        _correlation_table(checks, study),
        _mix_table(mixes, settings, study),
    )
    paragraphs = (_introduction(mixes, settings), *_shares(checks), *_distances(checks))
    return Section("truth", "Truth against estimate: document scores", paragraphs, items=items)


def searches_section(study: Study) -> Section | None:
    """Merge and rate searches against the true weights and the best rate; None for a study without a known truth."""
    checks = truth_checks(study)
    if not checks.height:
        return None
    items = (_merge_figure(checks, study), _rate_figure(checks, study), _search_table(checks, study))
    introduction = _introduction(true_mixes(study), lab_settings(study))
    paragraphs = (introduction, *_searches(checks.filter(pl.col("model_id").is_null())))
    return Section("truth-searches", "Truth against estimate: searches", paragraphs, items=items)


def truth_checks(study: Study) -> pl.DataFrame:
    """One row per check: by check, kind of score, cell (their mean first), objective, all before each model."""
    return study.read(
        "fct_lab_truth_checks",
        "check_name, cell, score_kind, objective, model_id, statistic, value, low, high, oracle, baseline, "
        "baseline_name, n, reason",
        f"{_CHECKS}, {_KINDS}, {_CELLS}, cell, {BY_OBJECTIVE}, statistic, baseline_name, model_id nulls first",
        optional=True,
    )


def true_mixes(study: Study) -> pl.DataFrame:
    """One row per model and domain: the true share, and what the model is; by size, largest first."""
    columns = (
        "model_id, domain, share, pretrained_model_id, pretraining_tokens, parameters_m, architecture, hidden, "
        "vocabulary"
    )
    return study.read("dim_lab_mixes", columns, "parameters_m desc, model_id, domain", optional=True)


def lab_settings(study: Study) -> dict[str, float]:
    """Settings of the study, by name of the setting; empty for a study of another kind."""
    return dict(study.read("dim_lab_settings", "setting, value", "setting", optional=True).iter_rows())


def estimates(frame: pl.DataFrame, title: str, domain: charts.Range, mark: str, digits: int = 2) -> alt.LayerChart:
    """One row per estimate: dot and line are value and 95 % interval, the hollow diamond is what it is compared with.

    frame: `label`, `value`, `low`, `high`, `mark` and `n`, in the order of the rows; rows have a value. domain: ends of
    the x axis. mark: name of the diamonds.
    """
    number = f".{digits}f"
    tips = (
        ("label:N", "Estimate"),
        ("value:Q", "Value", number),
        ("low:Q", "95 % interval, low", number),
        ("high:Q", "95 % interval, high", number),
        ("mark:Q", mark, number),
        ("n:Q", "n"),
    )
    frame = charts.ranked(frame.select("label", "value", "low", "high", "mark", "n"), "label")
    base = charts.row_chart(frame, "label", tips)
    ticks = {"values": [-1, -0.5, 0, 0.5, 1]} if domain == CORRELATIONS else {}
    # Room at the right for the numbers.
    shown = (domain[0], domain[1] + 0.24 * (domain[1] - domain[0]))
    x = charts.across("value", title, shown, tickCount=6, **ticks)
    layers = [charts.zero(frame)] if domain[0] < 0 < domain[1] else []
    layers += [
        charts.whisker(base, "low", "high"),
        charts.dots(base.transform_filter("isValid(datum.mark)"), alt.X("mark:Q"), "hollow", shape="diamond"),
        charts.dots(base, x, "best"),
        charts.value_at_right(base, "value:Q", number),
    ]
    return charts.layered(layers, 24 * frame["label"].n_unique())


def _span(frame: pl.DataFrame, margin: float) -> charts.Range:
    """x range that holds all values, intervals and diamonds, with a margin on both sides."""
    found = [value for name in ("value", "low", "high", "mark") for value in frame[name].drop_nulls()]
    return (min(found) - margin, max(found) + margin) if found else (0.0, 1.0)


def _introduction(mixes: pl.DataFrame, settings: dict[str, float]) -> str:
    n = mixes["model_id"].n_unique() if mixes.height else 0
    noise = settings.get("preference_noise")
    with_noise = "" if noise is None else f" with logistic noise of scale {noise:g}"
    return (
        f"Synthetic data: {labels.plural(n, 'small base model')} made here, on made-up languages in known shares, and "
        f"preferences that follow known weights{with_noise}. So estimates can be compared with the truth, which no "
        "study of published models allows. A correct estimate here does not prove that it is correct for real models; "
        "a wrong one is a warning."
    )


def _shares(checks: pl.DataFrame) -> tuple[str, ...]:
    """What the presence score reaches with all but the mix held fixed, and why the pooled figure is another."""
    within = _the(checks, "domain_share", "presence_score", WITHIN)
    if within is None:
        return ()
    if within["value"] is None:
        return (
            f"Whether the presence score can rank base models by the share of a domain is unknown: {within['reason']}.",
        )
    sentences = [
        f"Among base models that differ in nothing but their mix, the presence score {_does(within)} rank them by the "
        f"true share of a domain: Spearman correlation {_value(within)}, mean of the cells and domains (an oracle: "
        f"{labels.number(within['oracle'], 2)})."
    ]
    pooled, tokens = (_the(checks, name, "presence_score", POOLED) for name in ("domain_share", "domain_tokens"))
    if pooled is not None and pooled["value"] is not None:
        sentences.append(f"Over all models together it is {_value(pooled)}.")
        if (reason := _variance(checks, "presence_score")) is not None:
            sentences.append(f"The reason: {reason}.")
        if tokens is not None and tokens["value"] is not None:
            sentences.append(
                "The score tells how many tokens of a domain a model has read, share times budget "
                f"({labels.number(tokens['value'], 2, signed=True)}), and how strong the model is."
            )
        centred = _the(checks, "domain_share", "centred_presence_score", POOLED)
        if centred is not None and centred["value"] is not None:
            sentences.append(
                f"Less the model's own mean over the domains it reaches {_value(centred)}, pooled as well."
            )
    return (" ".join(sentences),)


def _variance(checks: pl.DataFrame, kind: str) -> str | None:
    rows = checks.filter(check_name="variance", score_kind=kind)
    found = dict(rows.select("statistic", "value").iter_rows())
    if not found:
        return None
    mix, size, tokens = (labels.percent(found[f"share_{name}"]) for name in ("mix", "size", "tokens"))
    return f"of the variance of the mean scores the mix explains {mix}, size {size} and training tokens {tokens}"


def _distances(checks: pl.DataFrame) -> tuple[str, ...]:
    """What distances of presence scores say of mixes within cells, and what they follow over all models."""
    found = {name: _the(checks, f"mix_distance_{name}", "presence_score", WITHIN) for name in _DISTANCES}
    known = {name: row for name, row in found.items() if row is not None and row["value"] is not None}
    if not known:
        return ()
    listed = [
        f"{_DISTANCES[name]} {_value(row)} (an oracle: {labels.number(row['oracle'], 2)})"
        for name, row in known.items()
    ]
    text = (
        "Pairs of models of one cell, ordered by the distance of their presence scores against the distance of their "
        f"mixes: {labels.listing(listed)}. The oracle knows the mean score that each mix deserves; what it lacks to 1, "
        "the histogram loses: one over all documents forgets which domain a document is of."
    )
    pooled, budget = (
        _the(checks, f"{truth}_all_documents", "presence_score", POOLED)
        for truth in ("mix_distance", "budget_distance")
    )
    if pooled is not None and budget is not None and None not in (pooled["value"], budget["value"]):
        text += (
            f" Over all pairs the distance over all documents orders mixes with {_value(pooled)}: it follows the "
            f"difference of the training budgets ({labels.number(budget['value'], 2, signed=True)})."
        )
    return (text,)


def _does(row: dict[str, Any]) -> str:
    if row["low"] is None or row["low"] <= 0 <= row["high"]:
        return "does not, beyond chance,"
    return "does" if row["low"] > 0 else "does the contrary of what it should: it fails to"


def _the(checks: pl.DataFrame, check: str, kind: str, cell: str) -> dict[str, Any] | None:
    return _row(checks.filter(check_name=check, score_kind=kind, cell=cell))


def _searches(whole: pl.DataFrame) -> tuple[str, ...]:
    sentences = []
    for row in whole.filter(pl.col("value").is_not_null(), check_name="merge_search").to_dicts():
        beats = "more" if row["value"] > 0 else "fewer"
        sure = "beyond chance" if row["low"] > 0 or row["high"] < 0 else "which chance could explain"
        sentences.append(
            f"On test pairs the merge vectors win {labels.number(abs(row['value']), 1)} points {beats} than "
            f"{_BASELINES[row['baseline_name']]} ({labels.number(row['baseline'], 1)} %), {sure}: 95 % interval "
            f"{labels.interval(row['low'], row['high'], 1, signed=True)}, over {row['n']} reward models and the pairs. "
            f"The best vectors on the test pairs themselves win {labels.number(row['oracle'], 1)} points more."
        )
    cosine = _row(whole.filter(pl.col("value").is_not_null(), check_name="merge_weights"))
    if cosine is not None:
        sentences.append(
            "A footnote: their median cosine with the weights behind the preferences is "
            f"{_value(cosine, 2, signed=False)}; equal weights have {labels.number(cosine['baseline'], 2)}. Many "
            "vectors win as many pairs, and on predicted attributes the true weights need not be the best."
        )
    for _, rows in parts(whole.filter(check_name="learning_rate"), "objective"):
        gain = _row(rows.filter(statistic="gain_points"))
        if gain is None or gain["value"] is None:
            continue
        sentences.append(
            f"{labels.objective(gain['objective'])}: on validation prompts that took no part in choosing, the accuracy "
            f"of the rate chosen less that of the mean rate is {_value(gain, 1)} points; the best rate would gain "
            f"{labels.number(gain['oracle'], 1)} (medians, n = {gain['n']} reward models)."
        )
    return tuple(sentences)


def _row(frame: pl.DataFrame) -> dict[str, Any] | None:
    return next(iter(frame.to_dicts()), None)


def _value(row: dict[str, Any], digits: int = 2, *, signed: bool = True) -> str:
    """Value and interval: '+0.44, 95 % interval +0.09 to +0.71'."""
    found = labels.interval(row["low"], row["high"], digits, signed=signed)
    value = labels.number(row["value"], digits, signed=signed)
    return f"{value}, 95 % interval {found}" if found else value


def _share_figure(checks: pl.DataFrame, study: Study) -> Figure:
    mine = checks.filter(pl.col("value").is_not_null(), check_name="domain_share")
    panels = [
        _panel(labels.score_kind(str(kind)), _of_cells(rows), "Spearman correlation", CORRELATIONS, "Oracle")
        for kind, rows in parts(mine, "score_kind")
    ]
    return Figure(
        name=study.name("truth_domain_share"),
        title="Do scores rank models by the share of a domain?",
        caption=(
            "Spearman correlation, over base models, of the mean score of a domain's documents with the true share of "
            "that domain in the pre-training text, mean of the domains. Within a cell models differ in nothing but "
            f"their mix; pooled, in size, training, tokenizer and architecture as well. {_ONE_IS_GOOD}. Centred: less "
            f"the model's own mean over the domains. {_INTERVALS}."
        ),
        panels=tuple(panels),
        empty="Too few models of this study were scored to say anything.",
        key="1: always right; 0: chance; diamond: an oracle; lines: 95 % intervals over mixes",
        columns=2,
        panel_width=380,
    )


def _distance_figure(checks: pl.DataFrame, study: Study) -> Figure:
    panels = []
    for name, words in _DISTANCES.items():
        mine = checks.filter(
            pl.col("value").is_not_null(), check_name=f"mix_distance_{name}", score_kind="presence_score"
        )
        if mine.height:
            panels.append(_panel(words, _of_cells(mine), "Spearman correlation", CORRELATIONS, "Oracle"))
    return Figure(
        name=study.name("truth_mix_distance"),
        title="Do distances of scores order the pairs by their mixes?",
        caption=(
            "Spearman correlation, over pairs of base models, of the distance of their presence scores with the "
            "Jensen-Shannon distance of their mixes. The oracle of a histogram has the same documents, with the mean "
            "scores of the domains moved to what their shares predict; that of the means has the shares themselves. "
            f"{_INTERVALS}."
        ),
        panels=tuple(panels),
        empty="Too few models of this study were scored to say anything.",
        key="1: always right; 0: chance; diamond: an oracle; lines: 95 % intervals over mixes",
        columns=2,
        panel_width=380,
    )


def _of_cells(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(pl.col("cell").alias("label"), pl.col("oracle").alias("mark"))


def _merge_figure(checks: pl.DataFrame, study: Study) -> Figure:
    mine = checks.filter(pl.col("value").is_not_null(), check_name="merge_search")
    panels = []
    for name, rows in parts(mine, "baseline_name"):
        labelled = rows.with_columns(pl.Series("label", _per_model(rows)), pl.col("oracle").alias("mark"))
        axis, domain = "Points of test pairs won", _span(labelled, 1)
        panels.append(_panel(f"Against {_BASELINES[str(name)]}", labelled, axis, domain, "Best on the test pairs", 1))
    return Figure(
        name=study.name("truth_merge"),
        title="Does the merge search win more test pairs than other weights?",
        caption=(
            "Test pairs won by the merged reward less those won by the same five attributes under equal weights, or "
            "under the weights that the preferences were made with, in points. No prompt of the test set is trained on "
            "or validates. Lines: 95 % intervals, of a reward model over the test pairs, of the mean over reward "
            "models and test pairs; hollow diamonds: the vector that is best on the test pairs themselves."
        ),
        panels=tuple(panels),
        empty="No reward model of this study was trained by regression.",
        key="Right of zero: the merge search wins more; diamond: best on the test pairs themselves",
        columns=2,
        panel_width=380,
    )


def _rate_figure(checks: pl.DataFrame, study: Study) -> Figure:
    mine = checks.filter(pl.col("value").is_not_null(), check_name="learning_rate", statistic="accuracy")
    panels = []
    for objective, rows in parts(mine, "objective"):
        labelled = rows.with_columns(pl.Series("label", _per_model(rows)), pl.col("baseline").alias("mark"))
        axis, domain = "Validation pairs won (percent)", _span(labelled, 1)
        panels.append(_panel(labels.objective(objective), labelled, axis, domain, "Mean rate", 1))
    return Figure(
        name=study.name("truth_rates"),
        title="Does the rate search choose well?",
        caption=(
            "Share of validation pairs won by what the search chooses on half of the validation prompts, measured on "
            "the other half, mean over many splits; hollow diamonds: the mean of all rates, each with its own "
            "checkpoint chosen and measured alike. Line at the median: 95 % interval over reward models. The test set "
            "is no part of this: only the chosen reward models answer it."
        ),
        panels=tuple(panels),
        empty="No rate search of this study has come to an end.",
        key="Dot: the rate chosen; diamond: mean of all rates; on prompts that took no part in choosing",
        columns=2,
        panel_width=380,
    )


def _panel(title: str, rows: pl.DataFrame, axis: str, domain: charts.Range, mark: str, digits: int = 2) -> Panel:
    n = f"n = {max(rows['n'].to_list())}"
    values = [f"{row['label']} {labels.number(row['value'], digits)}" for row in rows.to_dicts()]
    label = f"Dots with intervals: {axis}, {title}, {n}: {labels.listing(values, 12)}."
    return Panel(f"{title} ({n})", label, estimates(rows, axis, domain, mark, digits))


def _per_model(rows: pl.DataFrame) -> list[str]:
    return [name if name is not None else "all reward models" for name in rows["model_id"]]


def _under(row: Row, digits: int = 2) -> str:
    """The second line of a value: its interval, or the reason why there is no value."""
    return (row["reason"] or "") if row["value"] is None else labels.interval(row["low"], row["high"], digits)


def _variance_table(frame: pl.DataFrame, study: Study) -> Table:
    rows = [
        {"score_kind": kind, **dict(part.select("statistic", "value").iter_rows())}
        for kind, part in parts(frame.filter(check_name="variance"), "score_kind")
    ]

    def share(name: str) -> Callable[[Row], float]:
        return lambda row: 100 * row[f"share_{name}"]

    return Table(
        name=study.name("truth_variance"),
        title="What explains the mean scores of the domains?",
        caption=(
            "Percent of the variance over base models of one architecture and tokenizer, squares added up over the "
            "domains (analysis of variance). Size and tokens are not crossed with each other, so each has the mean of "
            "what it explains before and after the other; the rest is what the mix does otherwise in another cell."
        ),
        rows=rows,
        columns=[
            Col("Score", lambda row: labels.score_kind(row["score_kind"])),
            Col("Mix", share("mix"), decimals(1)),
            Col("Size", share("size"), decimals(1)),
            Col("Training tokens", share("tokens"), decimals(1)),
            Col("Rest", share("rest"), decimals(1)),
        ],
        empty="The models of this study are not crossed: not every mix was trained in every cell.",
    )


def _correlation_table(frame: pl.DataFrame, study: Study) -> Table:
    hundredths = decimals(2)
    return Table(
        name=study.name("truth_correlations"),
        title="Correlations with the truth",
        caption=(
            "Spearman correlations; under them the 95 % interval over mixes, or the reason why there is no value. n: "
            "models times domains, for distances pairs of models. Single cells are in the database "
            "(marts.fct_lab_truth_checks)."
        ),
        rows=frame.filter(pl.col("check_name").is_in(_TRUTHS), pl.col("cell").is_in([WITHIN, POOLED])).to_dicts(),
        columns=[
            Col("Truth", lambda row: _TRUTHS[row["check_name"]]),
            Col("Score", lambda row: labels.score_kind(row["score_kind"])),
            Col("Models", "cell"),
            Col("Correlation", "value", hundredths, note=_under),
            Col("Oracle", "oracle", hundredths),
            Col("n", "n", COUNT),
        ],
        empty="No document was scored under a model of this study.",
    )


def _search_table(frame: pl.DataFrame, study: Study) -> Table:
    def digits(row: Row) -> int:
        return 2 if row["check_name"] == "merge_weights" else 1

    def written(key: str) -> tuple[Callable[[Row], Any], Format]:
        """Value with the digits of its check, and how to write it."""

        def value(row: Row) -> Any:
            return None if row[key] is None else (row[key], digits(row))

        return value, Format(lambda pair: labels.number(*pair), "number")

    return Table(
        name=study.name("truth_searches"),
        title="What the searches chose, against the truth",
        caption=(
            "Over reward models, points won as mean, the others as median; under them the 95 % interval, or the reason "
            "why there is no value. Single reward models are in the database (marts.fct_lab_truth_checks)."
        ),
        rows=frame.filter(pl.col("check_name").is_in(_SEARCHES), pl.col("model_id").is_null()).to_dicts(),
        columns=[
            Col("Search", lambda row: _SEARCHES[row["check_name"]]),
            Col("Objective", "objective", OBJECTIVE),
            Col("Statistic", lambda row: _STATISTICS.get(row["statistic"], row["statistic"])),
            Col("Value", *written("value"), sort=lambda row: row["value"], note=lambda row: _under(row, digits(row))),
            Col(
                "Baseline",
                *written("baseline"),
                sort=lambda row: row["baseline"],
                note=lambda row: _BASELINES.get(row["baseline_name"], ""),
            ),
            Col("Oracle", *written("oracle"), sort=lambda row: row["oracle"]),
            Col("n", "n", COUNT),
        ],
        empty="No reward model of this study was trained.",
    )


def _mix_table(frame: pl.DataFrame, settings: dict[str, float], study: Study) -> Table:
    rows = [
        part.row(0, named=True) | {"share": dict(part.select("domain", "share").iter_rows())}
        for _, part in parts(frame, "model_id")
    ]
    domains = frame["domain"].unique().sort().to_list() if frame.height else []
    weights = [
        f"{key.removeprefix('weight_')} {labels.number(value, 2)}"
        for key, value in settings.items()
        if key.startswith("weight_")
    ]
    preferences = f" The preferences follow these weights: {labels.listing(weights)}." if weights else ""

    def origin(row: Row) -> str:
        name = row["pretrained_model_id"]
        return "" if name == row["model_id"] else f"pre-trained as {name}"

    def share(domain: str) -> Callable[[Row], float | None]:
        return lambda row: 100 * row["share"][domain] if domain in row["share"] else None

    return Table(
        name=study.name("true_mixes"),
        title="The truth: what the base models were pre-trained on",
        caption=f"Share of each domain in the pre-training tokens, in percent. Synthetic.{preferences}",
        rows=rows,
        columns=[
            Col("Base model", "model_id", MODEL, note=origin),
            Col("Architecture", "architecture"),
            Col("Width", "hidden", COUNT),
            Col("Vocabulary", "vocabulary", COUNT),
            Col("Parameters", "parameters_m", decimals(2), "millions"),
            Col("Tokens", lambda row: row["pretraining_tokens"] / 1e6, decimals(2), "of pre-training, millions"),
            *(Col(domain, share(domain), COUNT) for domain in domains),
        ],
        empty="No mixes are stored.",
    )
