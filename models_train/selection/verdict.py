"""How much to trust this: does anything beat size alone for a publisher that was never seen? One sentence.

And one on the pre-training mix, which counts as an improvement only if it also beats its placebo (definitions 5).
"""

from __future__ import annotations

import polars as pl

from models_train.selection.design import ELASTIC_NET, WITH_MIX, WITH_PLACEBO
from models_train.selection.errors import SelectionError
from models_train.selection.features import LOG_SIZE
from models_train.selection.predictors import SELECTED
from models_train.selection.protocols import LEAVE_PUBLISHER_OUT
from models_train.selection.scores import error_difference

COMPARISON_SCHEMA = {
    "predictor": pl.String,
    "mae": pl.Float64,
    "difference": pl.Float64,
    "difference_low": pl.Float64,
    "difference_high": pl.Float64,
}


def against_size(predictions: pl.DataFrame, objective: str, target: str, seed: int = 0) -> pl.DataFrame:
    """Leave-publisher-out error of each predictor minus that of log10_params: `against`."""
    return against(LOG_SIZE, predictions, objective, target, seed)


def against(reference: str, predictions: pl.DataFrame, objective: str, target: str, seed: int = 0) -> pl.DataFrame:
    """Leave-publisher-out error of each predictor minus that of `reference`, with its 95 % interval, best first.

    predictions: as `rows.SCHEMAS["predictions"]`; folds are the resampled publishers. Points; below zero is better.
    Raises SelectionError if there are no such predictions.
    """
    mine = predictions.filter(objective=objective, target=target, protocol=LEAVE_PUBLISHER_OUT).sort("model_id")
    values = {str(name): part for (name,), part in mine.group_by("predictor", maintain_order=True)}
    if reference not in values:
        raise SelectionError(f"{objective}, {target}: no leave-publisher-out predictions of {reference}")
    base = values[reference]
    observed, publishers = base["observed"].to_numpy(), base["fold"].to_numpy()
    rows = []
    for name, part in values.items():
        predicted = part["predicted"].to_numpy()
        difference = error_difference(predicted, base["predicted"].to_numpy(), observed, publishers, seed=seed)
        rows.append((name, float(abs(predicted - observed).mean()), *difference))
    return pl.DataFrame(rows, schema=COMPARISON_SCHEMA, orient="row").sort("mae", "predictor")


def verdict(predictions: pl.DataFrame, objective: str, target: str) -> str:
    """One sentence: does nested selection beat size alone, and if not, would any single predictor have."""
    table = against_size(predictions, objective, target)
    size = table.row(by_predicate=pl.col("predictor") == LOG_SIZE, named=True)
    chosen = table.row(by_predicate=pl.col("predictor") == SELECTED, named=True)
    named = table.filter(~pl.col("predictor").is_in([LOG_SIZE, SELECTED, WITH_PLACEBO]))
    sure = named.filter(pl.col("difference_high") < 0)["predictor"].to_list()
    if chosen["difference_high"] < 0:
        first = "Size alone is beaten"
    elif sure:
        first = f"Nested selection does not reliably beat size alone, although {', '.join(sure)} would have"
    else:
        first = "Nothing reliably beats size alone"
    return (
        f"{first}: for a publisher never seen, the mean absolute error is {chosen['mae']:.1f} points with nested "
        f"selection and {size['mae']:.1f} with log10 size (difference {chosen['difference']:+.1f}, 95 % interval "
        f"{chosen['difference_low']:+.1f} to {chosen['difference_high']:+.1f})."
    )


def mix_verdict(predictions: pl.DataFrame, objective: str, target: str) -> str:
    """One sentence: does the pre-training mix improve the elastic net, by more than a placebo; empty without a mix."""
    if WITH_MIX not in predictions.filter(objective=objective, target=target)["predictor"]:
        return ""
    rows = [
        against(name, predictions, objective, target).row(by_predicate=pl.col("predictor") == WITH_MIX, named=True)
        for name in (ELASTIC_NET, WITH_PLACEBO)
    ]
    better = [row["difference_high"] < 0 for row in rows]
    first = {
        (True, True): "The pre-training mix improves the prediction",
        (True, False): "The pre-training mix improves the prediction no more than a placebo does",
        (False, True): "The pre-training mix beats a placebo but does not reliably improve the prediction",
        (False, False): "The pre-training mix does not reliably improve the prediction",
    }[better[0], better[1]]
    without, placebo = (
        f"{row['difference']:+.1f}, 95 % interval {row['difference_low']:+.1f} to {row['difference_high']:+.1f}"
        for row in rows
    )
    return (
        f"{first}: for a publisher never seen, the mean absolute error is {rows[0]['mae']:.1f} points with it; against "
        f"the same elastic net without it {without}; against random features constant within a family {placebo}."
    )
