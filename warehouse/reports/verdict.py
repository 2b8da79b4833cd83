"""Does anything beat size alone for a publisher that was never seen? One sentence, from the predictions.

The rule: a predictor beats size if the 95 % interval of its mean absolute error minus that of `log10_params`, model by
model with whole publishers resampled, lies below zero. What counts is nested selection (`selected`), which chose
without seeing the outer fold; a single predictor that would have won is known only by looking back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from warehouse.reports import words
from warehouse.reports.frames import parts

OUT_OF_FOLD = "leave_publisher_out"
SIZE, SELECTED = "log10_params", "selected"
WITHOUT_MIX, WITH_MIX, WITH_PLACEBO = "elastic_net", "elastic_net_with_mix", "elastic_net_with_placebo"
N_RESAMPLES, SEED = 1000, 0
COMPARISON_SCHEMA = {
    "predictor": pl.String,
    "mae": pl.Float64,
    "difference": pl.Float64,
    "difference_low": pl.Float64,
    "difference_high": pl.Float64,
}


@dataclass(frozen=True)
class Verdict:
    """level: `beaten` (by nested selection), `hindsight` (only by what was not selected), `none`, or `unknown`."""

    level: str
    headline: str
    detail: str


def against_size(predictions: pl.DataFrame) -> pl.DataFrame:
    """Leave-publisher-out error of each predictor minus that of size alone: `against`."""
    return against(SIZE, predictions)


def against(reference: str, predictions: pl.DataFrame) -> pl.DataFrame:
    """Leave-publisher-out error of each predictor minus that of `reference`, with its 95 % interval, best first.

    predictions: rows of performance_marts.predictions of one objective. Points; below zero is better. A predictor is
    compared over the models that both predict. Empty if the reference made no such predictions.
    """
    mine = predictions.filter(protocol=OUT_OF_FOLD).with_columns(
        error=(pl.col("predicted") - pl.col("observed")).abs(), fold=pl.col("fold").fill_null("unknown")
    )
    base = mine.filter(predictor=reference).select("model_id", base_error="error")
    rows = []
    for name, part in parts(mine.join(base, on="model_id").sort("predictor", "model_id"), "predictor"):
        errors, publishers = part["error"].to_numpy(), part["fold"].to_numpy()
        differences = errors - part["base_error"].to_numpy()
        rows.append((name, errors.mean(), differences.mean(), *_interval_of_mean(differences, publishers)))
    return pl.DataFrame(rows, schema=COMPARISON_SCHEMA, orient="row").sort("mae", "predictor")


def verdict(comparison: pl.DataFrame) -> Verdict:
    """The judgement on one objective from `against_size`."""
    rows = {row["predictor"]: row for row in comparison.iter_rows(named=True)}
    size, chosen = rows.pop(SIZE, None), rows.pop(SELECTED, None)
    rows.pop(WITH_PLACEBO, None)  # there to be beaten, not to beat
    if size is None or not (rows or chosen):
        return Verdict("unknown", "It is not known whether anything beats size alone out of fold.", "")
    sure = [words.predictor(name) for name, row in rows.items() if row["difference_high"] < 0]
    # Without nested selection the smallest error stands for it: the table is sorted.
    shown = chosen or next(iter(rows.values()))
    detail = _detail(shown, size)
    if chosen and chosen["difference_high"] < 0:
        return Verdict("beaten", "Nested selection beats size alone out of fold.", detail)
    if sure:
        names = words.listing(sure)
        headline = f"Nested selection does not beat size alone out of fold, although {names} would have."
        return Verdict("hindsight", headline, f"{detail} Which predictor would have won is known only by looking back.")
    return Verdict("none", "Nothing beats size alone out of fold.", detail)


def mix_sentence(predictions: pl.DataFrame) -> str:
    """Whether the pre-training mix improves the elastic net: only if by more than a placebo; empty without a mix.

    predictions: rows of performance_marts.predictions of one objective.
    """
    found = [against(name, predictions).filter(predictor=WITH_MIX).to_dicts() for name in (WITHOUT_MIX, WITH_PLACEBO)]
    if not all(found):
        return ""
    without, placebo = (rows[0] for rows in found)
    if without["difference_high"] >= 0:
        verdict_text = "The pre-training mix does not improve the elastic net out of fold"
    elif placebo["difference_high"] >= 0:
        verdict_text = "The pre-training mix improves the elastic net out of fold, but no more than a placebo does"
    else:
        verdict_text = "The pre-training mix improves the elastic net out of fold, and beats its placebo"
    differences = [
        f"{words.number(row['difference'], signed=True)} points ("
        f"{words.interval(row['difference_low'], row['difference_high'], signed=True)})"
        for row in (without, placebo)
    ]
    return (
        f"{verdict_text}: its error differs by {differences[0]} from that without the mix and by {differences[1]} from "
        "that with a placebo, as many random features that are constant within a family."
    )


def _detail(shown: dict[str, float | str], size: dict[str, float | str]) -> str:
    errors = [words.number(float(row["mae"])) for row in (shown, size)]
    low, high = float(shown["difference_low"]), float(shown["difference_high"])
    return (
        f"For a publisher never seen, the mean absolute error is {errors[0]} points with "
        f"{words.predictor(str(shown['predictor']))} and {errors[1]} with size alone (difference "
        f"{words.number(float(shown['difference']), signed=True)}, 95 % interval "
        f"{words.interval(low, high, signed=True)})."
    )


def _interval_of_mean(values: np.ndarray, clusters: np.ndarray) -> tuple[float, float]:
    """95 % percentile interval of the mean of values (models,) when whole clusters are drawn with replacement."""
    names, member = np.unique(clusters, return_inverse=True)
    sums, sizes = np.bincount(member, values), np.bincount(member)
    draws = np.random.default_rng(SEED).integers(len(names), size=(N_RESAMPLES, len(names)))
    low, high = np.quantile(sums[draws].sum(axis=1) / sizes[draws].sum(axis=1), [0.025, 0.975])
    return float(low), float(high)
