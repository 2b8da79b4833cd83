"""Two reward models on the same pairs: exact McNemar test and paired bootstrap (definitions, Section 1).

Pure functions from a frame of counts to a frame of statistics.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import stats

from models_train.selection.scores import INTERVAL_ENDS

Floats = NDArray[np.float64]

REWARD_MODEL = ("study_id", "objective", "model_id", "size_group", "default_model_id")
CATEGORIES = ("chat", "chat_hard", "safety", "reasoning")
SCORE = "score"
COUNTS = ("n_both", "n_only_model", "n_only_default", "n_neither")

STATISTICS_SCHEMA: Mapping[str, type[pl.DataType]] = {
    **dict.fromkeys((*REWARD_MODEL, "category"), pl.String),
    **dict.fromkeys(("n_pairs", *COUNTS), pl.Int32),
    **dict.fromkeys(("mcnemar_p", "difference_points", "difference_low", "difference_high"), pl.Float64),
}


def mcnemar_p(n_only_first: int, n_only_second: int) -> float:
    """Two-sided p of McNemar's exact test: the pairs that one of the two wins are a fair coin's under the null.

    Twice the smaller tail, at most 1; 1 where there is no such pair.
    """
    n = n_only_first + n_only_second
    return float(min(1.0, 2 * stats.binom.cdf(min(n_only_first, n_only_second), n, 0.5)))


def bootstrap_differences(
    only_first: NDArray[np.int64], only_second: NDArray[np.int64], n_pairs: NDArray[np.int64], resamples: int, seed: int
) -> Floats:
    """Differences of accuracy per draw and subset, shape (resamples, n_subsets), 0 to 1.

    Pairs are drawn with replacement within each subset, both models on the same ones. A pair's difference is 1, -1 or
    0, so a draw of n pairs is one multinomial draw of how many there are of each. Arguments: shape (n_subsets,).
    """
    generator = np.random.default_rng(seed)
    differences = np.empty((resamples, len(n_pairs)))
    for place, (first, second, n) in enumerate(zip(only_first, only_second, n_pairs, strict=True)):
        drawn = generator.multinomial(n, [first / n, second / n, (n - first - second) / n], size=resamples)
        differences[:, place] = (drawn[:, 0] - drawn[:, 1]) / n
    return differences


def comparison_statistics(counts: pl.DataFrame, *, resamples: int) -> pl.DataFrame:
    """One row per reward model and category that has pairs, and one for the score.

    counts: one row per reward model and subset, with category, weight and how many of the pairs that both models have
    a reward for are won by both, by the model only, by the default only, by neither. Differences are in points, by
    RewardBench's weights; those of the score are null unless all four categories have pairs. The seed of the
    draws comes from the names: the same counts give the same interval.
    """
    rows: list[dict[str, object]] = []
    for key, part in counts.sort(*REWARD_MODEL, "subset").group_by(REWARD_MODEL, maintain_order=True):
        named = dict(zip(REWARD_MODEL, key, strict=True))
        seed = zlib.crc32("/".join(map(str, key[:3])).encode())
        rows += ({**named, **row} for row in _categories(part, resamples, seed))
    return pl.DataFrame(rows, schema=STATISTICS_SCHEMA)


def _categories(part: pl.DataFrame, resamples: int, seed: int) -> Iterator[dict[str, object]]:
    model, default = part["n_only_model"].to_numpy(), part["n_only_default"].to_numpy()
    n_pairs = part.select(pl.sum_horizontal(COUNTS)).to_series().to_numpy()
    drawn = bootstrap_differences(model, default, n_pairs, resamples, seed)
    observed = (model - default) / n_pairs
    found: list[tuple[float, Floats]] = []
    for category in CATEGORIES:
        chosen = (part["category"] == category).to_numpy()
        if chosen.any():
            weights = part["weight"].to_numpy()[chosen]
            shares = weights / weights.sum()
            difference, draws = float(observed[chosen] @ shares), drawn[:, chosen] @ shares
            found.append((difference, draws))
            yield _row(category, part.filter(pl.Series(chosen)), difference, draws)
    if len(found) < len(CATEGORIES):
        yield _row(SCORE, part, None, None)
    else:
        mean = float(np.mean([difference for difference, _ in found]))
        yield _row(SCORE, part, mean, np.mean([draws for _, draws in found], axis=0))


def _row(category: str, part: pl.DataFrame, difference: float | None, draws: Floats | None) -> dict[str, object]:
    sums = part.select(pl.col(COUNTS).sum()).row(0, named=True)
    low, high = (None, None) if draws is None else np.quantile(draws, INTERVAL_ENDS).tolist()
    return {
        "category": category,
        "n_pairs": sum(sums.values()),
        **sums,
        "mcnemar_p": mcnemar_p(sums["n_only_model"], sums["n_only_default"]),
        "difference_points": None if difference is None else 100 * difference,
        "difference_low": None if low is None else 100 * low,
        "difference_high": None if high is None else 100 * high,
    }
