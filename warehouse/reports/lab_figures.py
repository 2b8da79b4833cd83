"""Figures of a lab: each check drawn with its interval and what it has to beat."""

from __future__ import annotations

import polars as pl

from warehouse.reports import lab_tables, words
from warehouse.reports.charts import lab as charts
from warehouse.reports.frames import parts
from warehouse.reports.pieces import Figure, Panel

EVERY_DOMAIN = "all"
_INTERVALS = (
    "Dots are the values, lines their 95 % intervals from 2,000 resamples of the models (never of pairs; models of one "
    "pre-training are drawn together; with fewer than six they are too narrow), hollow diamonds what has to be beaten"
)
_ONE_IS_GOOD = "1 is always good: bits per byte has its sign turned, for there the smaller is the better"
_TITLES = {
    "domain_share": "Do scores rank models by the share of a domain?",
    "mix_distance": "Do distances of scores order the pairs by their mixes?",
}
_WHAT = {
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


def ranks(whole: pl.DataFrame, check: str, slug: str) -> Figure:
    """Correlations of one check, a panel per domain; whole: rows of lab_marts.truth_checks over all models."""
    mine = whole.filter(pl.col("value").is_not_null(), check_name=check, statistic="spearman")
    panels = []
    for domain, rows in parts(mine, "domain"):
        labelled = _labelled(rows, [words.score_kind(kind) for kind in rows["score_kind"]])
        title = _WHOLE[check] if domain == EVERY_DOMAIN else domain
        panels.append(_panel(title, labelled, "Spearman correlation", charts.CORRELATIONS))
    return Figure(
        name=f"{slug}_truth_{check}",
        title=_TITLES[check],
        caption=f"{_WHAT[check]} {_ONE_IS_GOOD}. {_INTERVALS}: size alone, log parameters in place of the score.",
        panels=tuple(panels),
        empty="Too few of this lab's models were scored to say anything.",
        key="1: always right; 0: chance; diamond: size alone; lines: 95 % intervals over models",
        columns=3,
        panel_width=300,
    )


def differences(whole: pl.DataFrame, slug: str) -> Figure:
    """Kinds of score against each other and against size, over all domains."""
    mine = whole.filter(pl.col("value").is_not_null(), statistic="spearman_difference", domain=EVERY_DOMAIN)
    panels = []
    for check, rows in parts(mine, "check_name"):
        pairs = rows.select("score_kind", "compared_with").iter_rows()
        labels = [f"{words.score_kind(one)} – {words.score_kind(other)}" for one, other in pairs]
        labelled = _labelled(rows, labels).with_columns(pl.lit(None, pl.Float64).alias("baseline"))
        title = "Ranking by share" if check == "domain_share" else "Ordering pairs"
        panels.append(_panel(title, labelled, "Difference of correlations", charts.span(labelled, 0.1)))
    return Figure(
        name=f"{slug}_truth_differences",
        title="Do the kinds of score differ?",
        caption=(
            "Correlation of the kind of score named first less that of the one named second, or of size alone, on the "
            "same resamples of the models, over all domains. To the right of zero the first is the better; a line "
            "across zero says that chance could explain the difference. Where all models share a tokenizer, presence "
            "score and bits per byte rank them alike."
        ),
        panels=tuple(panels),
        empty="Too few of this lab's models were scored to compare kinds of score.",
        key="Right of zero: the kind named first is better; lines: 95 % intervals over models",
        columns=2,
        panel_width=380,
    )


def merges(checks: pl.DataFrame, slug: str) -> Figure:
    """Cosine of the merge vectors with the true weights; checks: all rows of lab_marts.truth_checks."""
    mine = checks.filter(check_name="merge_weights", statistic="cosine", baseline_name="equal_weights")
    rows = mine.filter(pl.col("value").is_not_null())
    panels = []
    if rows.height:
        labelled = _labelled(rows, _per_model(rows))
        panels.append(_panel("Cosine with the true weights", labelled, "Cosine", charts.span(labelled, 0.02), 3))
    return Figure(
        name=f"{slug}_truth_merge",
        title="Does the merge search find the weights behind the preferences?",
        caption=(
            "Cosine of the merge vector that the search chose with the weights that the preferences were made with: 1 "
            "is the same direction. The search weighs what a reward model predicts, not the attributes themselves, so "
            "the vector that wins most pairs need not be the true one. Line at the median: 95 % interval over reward "
            "models; hollow diamonds: equal weights, which need no search."
        ),
        panels=tuple(panels),
        empty="No reward model of this lab was trained by regression.",
        key="1: the true weights; diamond: equal weights, without a search",
        panel_width=620,
    )


def rates(checks: pl.DataFrame, slug: str) -> Figure:
    """Accuracy of the rates chosen against the mean rate, a panel per objective."""
    mine = checks.filter(pl.col("value").is_not_null(), check_name="learning_rate", statistic="accuracy")
    panels = []
    for objective, rows in parts(mine, "objective"):
        labelled = _labelled(rows, _per_model(rows))
        axis, domain = "Validation pairs won (percent)", charts.span(labelled, 1)
        panels.append(_panel(words.objective(objective), labelled, axis, domain, 1))
    return Figure(
        name=f"{slug}_truth_rates",
        title="Does the rate search choose well?",
        caption=(
            "Share of validation pairs won by what the search chooses on half of the validation prompts, measured on "
            "the other half, mean over many splits; hollow diamonds: the mean of all rates, each with its own "
            "checkpoint chosen and measured alike. Line at the median: 95 % interval over reward models. The test set "
            "is no part of this: only the chosen reward models answer it."
        ),
        panels=tuple(panels),
        empty="No rate search of this lab has come to an end.",
        key="Dot: the rate chosen; diamond: mean of all rates; on prompts that did not choose",
        columns=2,
        panel_width=380,
    )


def _panel(title: str, rows: pl.DataFrame, axis: str, domain: tuple[float, float], digits: int = 2) -> Panel:
    number = f"n = {max(rows['n'].to_list())}"
    said = [f"{row['label']} {words.number(row['value'], digits)}" for row in rows.iter_rows(named=True)]
    label = f"Dots with intervals: {axis}, {title}, {number}: {words.listing(said, 12)}."
    return Panel(f"{title} ({number})", label, charts.estimates(rows, axis, domain, digits))


def _labelled(rows: pl.DataFrame, labels: list[str]) -> pl.DataFrame:
    beaten = [lab_tables.baseline(name) for name in rows["baseline_name"]]
    return rows.with_columns(pl.Series("label", labels, pl.String), pl.Series("baseline_text", beaten, pl.String))


def _per_model(rows: pl.DataFrame) -> list[str]:
    return [name if name is not None else "median of the reward models" for name in rows["model_id"]]
