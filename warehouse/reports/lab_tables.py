"""Tables of a lab: every check in figures, and the true mixes."""

from __future__ import annotations

from typing import Any

import polars as pl

from warehouse.reports import words
from warehouse.reports.cells import figure, text
from warehouse.reports.frames import parts
from warehouse.reports.pieces import Cell, Column, Table

CHECKS = {
    "domain_share": "ranks by share of a domain",
    "mix_distance": "orders pairs by distance of mixes",
    "merge_weights": "merge search",
    "learning_rate": "rate search",
}
STATISTICS = {
    "spearman": "Spearman",
    "spearman_given_size": "Spearman, size held fixed",
    "spearman_difference": "difference of Spearmans",
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


def checks(frame: pl.DataFrame, name: str) -> Table:
    """One row per check over all models, but for the differences between kinds of score in single domains."""
    single = (pl.col("statistic") == "spearman_difference") & (pl.col("domain") != "all")
    rows = tuple(_check(row) for row in frame.filter(~single.fill_null(False)).iter_rows(named=True))
    return Table(
        name=name,
        title="All checks in figures",
        caption=(
            "Under a value: its 95 % interval over models. n: models, pairs of models, or reward models. Where there "
            "is no value, the reason stands in its place. Single reward models, and the differences in single domains, "
            "are in the database (marts.fct_lab_truth_checks)."
        ),
        columns=(
            Column("Check"),
            Column("Of what"),
            Column("Domain"),
            Column("Statistic"),
            Column("Value", numeric=True),
            Column("To beat", numeric=True),
            Column("n", numeric=True),
        ),
        rows=rows,
        empty="No check could be made.",
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


def _check(row: dict[str, Any]) -> tuple[Cell, ...]:
    digits = 1 if row["check_name"] == "learning_rate" else 3 if row["check_name"] == "merge_weights" else 2
    if row["value"] is None:
        value = Cell("–", None, note=row["reason"] or "")
    else:
        value = figure(row["value"], digits, note=words.interval(row["low"], row["high"], digits))
    what = words.score_kind(row["score_kind"]) if row["score_kind"] else words.objective(row["objective"] or "–")
    if row["compared_with"]:
        what += f" − {words.score_kind(row['compared_with'])}"
    return (
        text(CHECKS.get(row["check_name"], row["check_name"])),
        text(what),
        text(row["domain"] or "–"),
        text(STATISTICS.get(row["statistic"], row["statistic"])),
        value,
        figure(row["baseline"], digits, note=baseline(row["baseline_name"])),
        figure(row["n"], 0),
    )
