"""Tables of a lab: every check in figures, and the true mixes."""

from __future__ import annotations

from typing import Any

import polars as pl

from warehouse.reports import words
from warehouse.reports.cells import figure, text
from warehouse.reports.frames import parts
from warehouse.reports.pieces import Cell, Column, Table

CORRELATED = {"domain_share": "share of a domain", "mix_distance": "distance of mixes"}
SEARCHES = {"merge_weights": "merge search", "learning_rate": "rate search"}
STATISTICS = {
    "cosine": "cosine with the true weights",
    "largest_error": "largest error of a weight",
    "accuracy": "accuracy, percent",
    "gain_points": "gain, points",
    "shortfall_points": "behind the best rate, points",
}
BASELINES = {
    "log10_parameters": "size alone",
    "no_correlation": "no correlation",
    "no_difference": "no difference",
    "equal_weights": "equal weights",
    "random_vector": "random vector",
    "mean_rate": "mean rate",
    "no_gain": "no gain",
}


def correlations(frame: pl.DataFrame, name: str) -> Table:
    """One row per check of scores, domain and kind of score: plain, with size held fixed, and size alone."""
    rows = []
    for check, of_check in parts(frame.filter(pl.col("check_name").is_in(CORRELATED)), "check_name"):
        for domain, of_domain in parts(of_check, "domain"):
            for kind, part in parts(of_domain, "score_kind"):
                found = {row["statistic"]: row for row in part.to_dicts() if row["compared_with"] is None}
                plain, held = found["spearman"], found["spearman_given_size"]
                rows.append(
                    (
                        text(CORRELATED[check]),
                        text(domain),
                        text(words.score_kind(kind)),
                        _value(plain, 2),
                        _value(held, 2),
                        figure(plain["baseline"], 2),
                        figure(plain["n"], 0),
                    )
                )
    return Table(
        name=name,
        title="Correlations with the truth",
        caption=(
            "Spearman correlations; under them the 95 % interval over models, or the reason why there is no value. n: "
            "models, for distances pairs of models. Differences between kinds of score in single domains are in the "
            "database (marts.fct_lab_truth_checks)."
        ),
        columns=(
            Column("Truth"),
            Column("Domain"),
            Column("Score"),
            Column("Correlation", numeric=True),
            Column("Size held fixed", numeric=True),
            Column("Size alone", numeric=True),
            Column("n", numeric=True),
        ),
        rows=tuple(rows),
        empty="No document was scored under a model of this lab.",
    )


def searches(frame: pl.DataFrame, name: str) -> Table:
    """One row per search, statistic and what it has to beat: the median over reward models."""
    found = frame.filter(pl.col("check_name").is_in(SEARCHES))
    rows = []
    for row in found.iter_rows(named=True):
        digits = 3 if row["check_name"] == "merge_weights" else 1
        rows.append(
            (
                text(SEARCHES[row["check_name"]]),
                text(words.objective(row["objective"])),
                text(STATISTICS.get(row["statistic"], row["statistic"])),
                _value(row, digits),
                figure(row["baseline"], digits, note=baseline(row["baseline_name"])),
                figure(row["n"], 0),
            )
        )
    return Table(
        name=name,
        title="What the searches chose, against the truth",
        caption=(
            "Medians over reward models; under them the 95 % interval, or the reason why there is no value. Vectors "
            "are compared at length 1. Single reward models are in the database (marts.fct_lab_truth_checks)."
        ),
        columns=(
            Column("Search"),
            Column("Objective"),
            Column("Statistic"),
            Column("Median", numeric=True),
            Column("To beat", numeric=True),
            Column("n", numeric=True),
        ),
        rows=tuple(rows),
        empty="No reward model of this lab was trained.",
    )


def mixes(frame: pl.DataFrame, settings: dict[str, float], name: str) -> Table:
    """One row per base model: its size, and the true share of every domain, percent."""
    domains = frame["domain"].unique().sort().to_list() if frame.height else []
    rows = []
    for model_id, part in parts(frame, "model_id") if frame.height else ():
        first = part.row(0, named=True)
        share = dict(part.select("domain", "share").iter_rows())
        origin = first["pretrained_model_id"]
        note = "" if origin == model_id else f"pre-trained as {origin}"
        rows.append(
            (
                text(model_id, note=note),
                figure(first["parameters_m"], 2),
                figure(first["pretraining_tokens"] / 1e6, 2),
                *(figure(100 * share[domain], 0) for domain in domains),
            )
        )
    weights = [
        f"{key.removeprefix('weight_')} {words.number(value, 2)}"
        for key, value in settings.items()
        if key.startswith("weight_")
    ]
    told = f" The preferences follow these weights: {words.listing(weights)}." if weights else ""
    return Table(
        name=name,
        title="The truth: what the base models were pre-trained on",
        caption=f"Share of each domain in the pre-training tokens, in percent. Synthetic.{told}",
        columns=(
            Column("Base model"),
            Column("Parameters", numeric=True, hint="millions"),
            Column("Tokens", numeric=True, hint="of pre-training, millions"),
            *(Column(domain, numeric=True) for domain in domains),
        ),
        rows=tuple(rows),
        empty="No mixes are stored.",
    )


def baseline(name: str | None) -> str:
    """What has to be beaten, in words; an unknown one is shown as stored."""
    return BASELINES.get(name or "", name or "")


def _value(row: dict[str, Any], digits: int) -> Cell:
    """A value with its interval under it, or a dash with the reason."""
    if row["value"] is None:
        return Cell("–", None, note=row["reason"] or "")
    return figure(row["value"], digits, note=words.interval(row["low"], row["high"], digits))
