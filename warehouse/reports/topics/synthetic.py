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

EVERY_DOMAIN = "all"
CORRELATIONS: charts.Range = (-1.0, 1.0)
_CHECKS = "list_position(['domain_share', 'mix_distance', 'merge_weights', 'learning_rate'], check_name)"
_KINDS = "list_position(['presence_score', 'bits_per_byte', 'min_k', 'min_k_plus_plus', 'log10_parameters'], {column})"
_SUBJECTS = {
    "domain_share": ("The presence score", "rank base models by the true share of a domain in their pre-training text"),
    "mix_distance": (
        "The Jensen-Shannon distance of presence scores",
        "order pairs of base models by the true distance of their mixes",
    ),
}
_TITLES = {
    "domain_share": "Do scores rank models by the share of a domain?",
    "mix_distance": "Do distances of scores order the pairs by their mixes?",
}
_CAPTIONS = {
    "domain_share": (
        "Spearman correlation, over the base models that were scored, of the mean score of a domain's documents with "
        "the true share of that domain in the pre-training text. The first panel is the mean over the domains."
    ),
    "mix_distance": (
        "Spearman correlation, over all pairs of those models, of the Jensen-Shannon distance of their scores with the "
        "true distance of their mixes: of the whole mixes in the first panel, else of a domain against the rest."
    ),
}
_WHOLE = {"domain_share": "mean of the domains", "mix_distance": "all documents"}
_INTERVALS = (
    "Dots are the values, lines their 95 % intervals from 2,000 resamples of the models (never of pairs; models of one "
    "pre-training are drawn together; with fewer than six they are too narrow), hollow diamonds the baseline"
)
_ONE_IS_GOOD = "1 is always good: the sign of bits per byte is turned, because smaller is better there"
_TRUTHS = {"domain_share": "share of a domain", "mix_distance": "distance of mixes"}
_SEARCHES = {"merge_weights": "merge search", "learning_rate": "rate search"}
_STATISTICS = {
    "cosine": "cosine with the true weights",
    "largest_error": "largest error of a weight",
    "accuracy": "accuracy, percent",
    "gain_points": "gain, points",
    "shortfall_points": "behind the best rate, points",
}
_BASELINES = {
    "log10_parameters": "size alone",
    "no_correlation": "no correlation",
    "no_difference": "no difference",
    "equal_weights": "equal weights",
    "random_vector": "random vector",
    "mean_rate": "mean rate",
    "no_gain": "no gain",
}


def section(study: Study) -> Section | None:
    """Scores of documents against the true mixes; None for a study without a known truth."""
    checks = truth_checks(study)
    if not checks.height:
        return None
    mixes, settings = true_mixes(study), lab_settings(study)
    whole = checks.filter(pl.col("model_id").is_null())
    items = (
        _rank_figure(whole, "domain_share", study),
        _rank_figure(whole, "mix_distance", study),
        _difference_figure(whole, study),
        _correlation_table(whole, study),
        _mix_table(mixes, settings, study),
    )
    paragraphs = (_introduction(mixes, settings), *_verdicts(whole), *_kinds(whole))
    return Section("truth", "Truth against estimate: document scores", paragraphs, items=items)


def searches_section(study: Study) -> Section | None:
    """Merge and rate searches against the true weights and the best rate; None for a study without a known truth."""
    checks = truth_checks(study)
    if not checks.height:
        return None
    whole = checks.filter(pl.col("model_id").is_null())
    items = (_merge_figure(checks, study), _rate_figure(checks, study), _search_table(whole, study))
    introduction = _introduction(true_mixes(study), lab_settings(study))
    return Section("truth-searches", "Truth against estimate: searches", (introduction, *_searches(whole)), items=items)


def truth_checks(study: Study) -> pl.DataFrame:
    """One row per check: by check, domain (all first), kinds of score, objective, and the median before the models."""
    return study.read(
        "fct_lab_truth_checks",
        "check_name, domain, score_kind, compared_with, objective, model_id, statistic, value, low, high, baseline, "
        "baseline_name, n, reason",
        f"{_CHECKS}, domain <> 'all', domain, {_KINDS.format(column='score_kind')}, "
        f"{_KINDS.format(column='compared_with')}, {BY_OBJECTIVE}, statistic, baseline_name, model_id nulls first",
        optional=True,
    )


def true_mixes(study: Study) -> pl.DataFrame:
    """One row per model and domain: the true share, and what the model is; by size, largest first."""
    columns = "model_id, domain, share, pretrained_model_id, pretraining_tokens, parameters_m"
    return study.read("dim_lab_mixes", columns, "parameters_m desc, model_id, domain", optional=True)


def lab_settings(study: Study) -> dict[str, float]:
    """Settings of the study, by name of the setting; empty for a study of another kind."""
    return dict(study.read("dim_lab_settings", "setting, value", "setting", optional=True).iter_rows())


def estimates(frame: pl.DataFrame, title: str, domain: charts.Range, digits: int = 2) -> alt.LayerChart:
    """One row per estimate: dot and line are value and 95 % interval, the hollow diamond is the baseline.

    frame: `label`, `value`, `low`, `high`, `baseline`, `baseline_text`, `n`, in the order of the rows; rows have a
    value. domain: ends of the x axis.
    """
    number = f".{digits}f"
    tips = (
        ("label:N", "Estimate"),
        ("value:Q", "Value", number),
        ("low:Q", "95 % interval, low", number),
        ("high:Q", "95 % interval, high", number),
        ("baseline_text:N", "Baseline"),
        ("baseline:Q", "Its value", number),
        ("n:Q", "n"),
    )
    columns = ("label", "value", "low", "high", "baseline", "baseline_text", "n")
    frame = charts.ranked(frame.select(columns), "label")
    base = charts.row_chart(frame, "label", tips)
    ticks = {"values": [-1, -0.5, 0, 0.5, 1]} if domain == CORRELATIONS else {}
    # Room at the right for the numbers.
    shown = (domain[0], domain[1] + 0.24 * (domain[1] - domain[0]))
    x = charts.across("value", title, shown, tickCount=6, **ticks)
    layers = [charts.zero(frame)] if domain[0] < 0 < domain[1] else []
    layers += [
        charts.whisker(base, "low", "high"),
        charts.dots(base.transform_filter("isValid(datum.baseline)"), alt.X("baseline:Q"), "hollow", shape="diamond"),
        charts.dots(base, x, "best"),
        charts.value_at_right(base, "value:Q", number),
    ]
    return charts.layered(layers, 24 * frame["label"].n_unique())


def _span(frame: pl.DataFrame, margin: float) -> charts.Range:
    """x range that holds all values, intervals and baselines, with a margin on both sides."""
    found = [value for name in ("value", "low", "high", "baseline") for value in frame[name].drop_nulls()]
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


def _verdicts(whole: pl.DataFrame) -> tuple[str, ...]:
    """For each check of scores: what the presence score reaches over all domains, and whether that beats size."""
    sentences = []
    for check, (subject, what) in _SUBJECTS.items():
        mine = whole.filter(check_name=check, domain=EVERY_DOMAIN, score_kind="presence_score")
        plain = _row(mine.filter(statistic="spearman"))
        if plain is None:
            continue
        if plain["value"] is None:
            sentences.append(f"Whether {subject[0].lower()}{subject[1:]} can {what} is not known: {plain['reason']}.")
            continue
        over = "mean of the domains" if check == "domain_share" else "all documents"
        size = labels.number(plain["baseline"], 2, signed=True)
        text = (
            f"{subject} {_does(plain)} {what}: Spearman correlation {_value(plain)} ({over}, n = {plain['n']}). Size "
            f"alone reaches {size}."
        )
        beaten = _row(mine.filter(statistic="spearman_difference", compared_with="log10_parameters"))
        held = _row(mine.filter(statistic="spearman_given_size"))
        sentences.append(" ".join([text, *_beats(beaten), *_held(held)]))
    return tuple(sentences)


def _does(row: dict[str, Any]) -> str:
    if row["low"] is None or row["low"] <= 0 <= row["high"]:
        return "does not, beyond chance,"
    return "does" if row["low"] > 0 else "does the contrary of what it should: it fails to"


def _beats(difference: dict[str, Any] | None) -> tuple[str, ...]:
    if difference is None or difference["low"] is None:
        return ()
    found = f"the difference is {_value(difference)}"
    if difference["low"] > 0:
        return (f"That is better than size, beyond chance: {found}.",)
    if difference["high"] < 0:
        return (f"Size is better, beyond chance: {found}.",)
    return (f"Chance could explain the difference from size: {found}.",)


def _held(row: dict[str, Any] | None) -> tuple[str, ...]:
    if row is None or row["value"] is None:
        return ()
    return (f"With size held fixed the correlation is {_value(row)}.",)


def _kinds(whole: pl.DataFrame) -> tuple[str, ...]:
    """Which kinds of score differ beyond chance, over all domains."""
    phrases = []
    differences = whole.filter(
        pl.col("value").is_not_null(),
        pl.col("compared_with") != "log10_parameters",
        domain=EVERY_DOMAIN,
        statistic="spearman_difference",
    )
    for check, name in (("domain_share", "in ranking by share"), ("mix_distance", "in ordering pairs")):
        rows = differences.filter(check_name=check)
        if rows.height:
            found = [pair for row in rows.to_dicts() for pair in _better(row)]
            phrases.append(f"{name} {labels.listing(found) or 'no two kinds'} differ beyond chance")
    return (f"Of the four kinds of score, {' and '.join(phrases)}.",) if phrases else ()


def _better(row: dict[str, Any]) -> tuple[str, ...]:
    if row["low"] is None or row["low"] <= 0 <= row["high"]:
        return ()
    pair = (row["score_kind"], row["compared_with"])
    good, bad = pair if row["low"] > 0 else pair[::-1]
    return (f"{labels.score_kind(good)} (better) and {labels.score_kind(bad)}",)


def _searches(whole: pl.DataFrame) -> tuple[str, ...]:
    sentences = []
    merge = whole.filter(check_name="merge_weights", statistic="cosine")
    found = _row(merge.filter(baseline_name="equal_weights"))
    if found is not None and found["value"] is not None:
        chance = _row(merge.filter(baseline_name="random_vector")) or {"baseline": None}
        sentences.append(
            f"The merge vectors found have a median cosine of {_value(found, 3, signed=False)} with the weights behind "
            f"the preferences (n = {found['n']} reward models); equal weights, without a search, have "
            f"{labels.number(found['baseline'], 3)}, and a random vector {labels.number(chance['baseline'], 3)} on "
            "average."
        )
    for objective, rows in parts(whole.filter(check_name="learning_rate"), "objective"):
        gain, behind = (_row(rows.filter(statistic=name)) for name in ("gain_points", "shortfall_points"))
        if gain is None or gain["value"] is None or behind is None:
            continue
        sentences.append(
            f"{labels.objective(objective)}: on validation prompts that took no part in choosing, the accuracy of the "
            f"rate chosen less that of the mean rate is {_value(gain, 1)} points, and it stays "
            f"{labels.number(behind['value'], 1)} points behind the best rate (medians, n = {gain['n']} reward models)."
        )
    return tuple(sentences)


def _row(frame: pl.DataFrame) -> dict[str, Any] | None:
    return next(iter(frame.to_dicts()), None)


def _value(row: dict[str, Any], digits: int = 2, *, signed: bool = True) -> str:
    """Value and interval: '+0.44, 95 % interval +0.09 to +0.71'."""
    found = labels.interval(row["low"], row["high"], digits, signed=signed)
    value = labels.number(row["value"], digits, signed=signed)
    return f"{value}, 95 % interval {found}" if found else value


def _rank_figure(whole: pl.DataFrame, check: str, study: Study) -> Figure:
    mine = whole.filter(pl.col("value").is_not_null(), check_name=check, statistic="spearman")
    panels = []
    for domain, rows in parts(mine, "domain"):
        labelled = _labelled(rows, [labels.score_kind(kind) for kind in rows["score_kind"]])
        title = _WHOLE[check] if domain == EVERY_DOMAIN else domain
        panels.append(_panel(title, labelled, "Spearman correlation", CORRELATIONS))
    return Figure(
        name=study.name(f"truth_{check}"),
        title=_TITLES[check],
        caption=f"{_CAPTIONS[check]} {_ONE_IS_GOOD}. {_INTERVALS}: size alone, log parameters in place of the score.",
        panels=tuple(panels),
        empty="Too few models of this study were scored to say anything.",
        key="1: always right; 0: chance; diamond: size alone; lines: 95 % intervals over models",
        columns=3,
        panel_width=300,
    )


def _difference_figure(whole: pl.DataFrame, study: Study) -> Figure:
    mine = whole.filter(pl.col("value").is_not_null(), statistic="spearman_difference", domain=EVERY_DOMAIN)
    panels = []
    for check, rows in parts(mine, "check_name"):
        pairs = rows.select("score_kind", "compared_with").iter_rows()
        texts = [f"{labels.score_kind(one)} – {labels.score_kind(other)}" for one, other in pairs]
        labelled = _labelled(rows, texts).with_columns(pl.lit(None, pl.Float64).alias("baseline"))
        title = "Ranking by share" if check == "domain_share" else "Ordering pairs"
        panels.append(_panel(title, labelled, "Difference of correlations", _span(labelled, 0.1)))
    return Figure(
        name=study.name("truth_differences"),
        title="Do the kinds of score differ?",
        caption=(
            "Correlation of the kind of score named first less that of the one named second, or of size alone, on the "
            "same resamples of the models, over all domains. To the right of zero the first is better; a line across "
            "zero means that chance could explain the difference. Where all models share a tokenizer, presence score "
            "and bits per byte rank them alike."
        ),
        panels=tuple(panels),
        empty="Too few models of this study were scored to compare kinds of score.",
        key="Right of zero: the kind named first is better; lines: 95 % intervals over models",
        columns=2,
        panel_width=380,
    )


def _merge_figure(checks: pl.DataFrame, study: Study) -> Figure:
    mine = checks.filter(check_name="merge_weights", statistic="cosine", baseline_name="equal_weights")
    rows = mine.filter(pl.col("value").is_not_null())
    panels = []
    if rows.height:
        labelled = _labelled(rows, _per_model(rows))
        panels.append(_panel("Cosine with the true weights", labelled, "Cosine", _span(labelled, 0.02), 3))
    return Figure(
        name=study.name("truth_merge"),
        title="Does the merge search find the weights behind the preferences?",
        caption=(
            "Cosine of the merge vector that the search chose with the weights that the preferences were made with: 1 "
            "is the same direction. The search weighs what a reward model predicts, not the attributes themselves, so "
            "the vector that wins most pairs need not be the true one. Line at the median: 95 % interval over reward "
            "models; hollow diamonds: equal weights, which need no search."
        ),
        panels=tuple(panels),
        empty="No reward model of this study was trained by regression.",
        key="1: the true weights; diamond: equal weights, without a search",
        panel_width=620,
    )


def _rate_figure(checks: pl.DataFrame, study: Study) -> Figure:
    mine = checks.filter(pl.col("value").is_not_null(), check_name="learning_rate", statistic="accuracy")
    panels = []
    for objective, rows in parts(mine, "objective"):
        labelled = _labelled(rows, _per_model(rows))
        axis, domain = "Validation pairs won (percent)", _span(labelled, 1)
        panels.append(_panel(labels.objective(objective), labelled, axis, domain, 1))
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


def _panel(title: str, rows: pl.DataFrame, axis: str, domain: charts.Range, digits: int = 2) -> Panel:
    n = f"n = {max(rows['n'].to_list())}"
    values = [f"{row['label']} {labels.number(row['value'], digits)}" for row in rows.to_dicts()]
    label = f"Dots with intervals: {axis}, {title}, {n}: {labels.listing(values, 12)}."
    return Panel(f"{title} ({n})", label, estimates(rows, axis, domain, digits))


def _labelled(rows: pl.DataFrame, texts: list[str]) -> pl.DataFrame:
    baselines = [_baseline(name) for name in rows["baseline_name"]]
    return rows.with_columns(pl.Series("label", texts, pl.String), pl.Series("baseline_text", baselines, pl.String))


def _per_model(rows: pl.DataFrame) -> list[str]:
    return [name if name is not None else "median of the reward models" for name in rows["model_id"]]


def _baseline(name: str | None) -> str:
    return _BASELINES.get(name or "", name or "")


def _under(row: Row, digits: int = 2) -> str:
    """The second line of a value: its interval, or the reason why there is no value."""
    return (row["reason"] or "") if row["value"] is None else labels.interval(row["low"], row["high"], digits)


def _correlation_table(frame: pl.DataFrame, study: Study) -> Table:
    rows = []
    plain = frame.filter(pl.col("check_name").is_in(_TRUTHS), pl.col("compared_with").is_null())
    for _, part in plain.group_by("check_name", "domain", "score_kind", maintain_order=True):
        found = {row["statistic"]: row for row in part.to_dicts()}
        rows.append(found["spearman"] | {"held": found["spearman_given_size"]})
    hundredths = decimals(2)
    return Table(
        name=study.name("truth_correlations"),
        title="Correlations with the truth",
        caption=(
            "Spearman correlations; under them the 95 % interval over models, or the reason why there is no value. n: "
            "models, for distances pairs of models. Differences between kinds of score in single domains are in the "
            "database (marts.fct_lab_truth_checks)."
        ),
        rows=rows,
        columns=[
            Col("Truth", lambda row: _TRUTHS[row["check_name"]]),
            Col("Domain", "domain"),
            Col("Score", lambda row: labels.score_kind(row["score_kind"])),
            Col("Correlation", "value", hundredths, note=_under),
            Col("Size held fixed", lambda row: row["held"]["value"], hundredths, note=lambda row: _under(row["held"])),
            Col("Size alone", "baseline", hundredths),
            Col("n", "n", COUNT),
        ],
        empty="No document was scored under a model of this study.",
    )


def _search_table(frame: pl.DataFrame, study: Study) -> Table:
    def digits(row: Row) -> int:
        return 3 if row["check_name"] == "merge_weights" else 1

    def written(key: str) -> tuple[Callable[[Row], Any], Format]:
        """Value with the digits of its check, and how to write it."""

        def value(row: Row) -> Any:
            return None if row[key] is None else (row[key], digits(row))

        return value, Format(lambda pair: labels.number(*pair), "number")

    return Table(
        name=study.name("truth_searches"),
        title="What the searches chose, against the truth",
        caption=(
            "Medians over reward models; under them the 95 % interval, or the reason why there is no value. Vectors "
            "are compared at length 1. Single reward models are in the database (marts.fct_lab_truth_checks)."
        ),
        rows=frame.filter(pl.col("check_name").is_in(_SEARCHES)).to_dicts(),
        columns=[
            Col("Search", lambda row: _SEARCHES[row["check_name"]]),
            Col("Objective", "objective", OBJECTIVE),
            Col("Statistic", lambda row: _STATISTICS.get(row["statistic"], row["statistic"])),
            Col("Median", *written("value"), sort=lambda row: row["value"], note=lambda row: _under(row, digits(row))),
            Col(
                "Baseline",
                *written("baseline"),
                sort=lambda row: row["baseline"],
                note=lambda row: _baseline(row["baseline_name"]),
            ),
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
            Col("Parameters", "parameters_m", decimals(2), "millions"),
            Col("Tokens", lambda row: row["pretraining_tokens"] / 1e6, decimals(2), "of pre-training, millions"),
            *(Col(domain, share(domain), COUNT) for domain in domains),
        ],
        empty="No mixes are stored.",
    )
