"""Scores of a ranking (coverage@k, paper, Eq. 9; regret@k), intervals of a prediction, and resamples of publishers."""

from __future__ import annotations

import math

import numpy as np

COVERAGE_STEPS = (5, 10, 15, 20, 25, 30)
PREDICTION_LEVEL = 0.90
"""Nominal level of prediction intervals."""
SCORE_LEVEL = 0.95
"""Nominal level of all other intervals: of errors, correlations and differences."""
INTERVAL_ENDS = ((1 - SCORE_LEVEL) / 2, (1 + SCORE_LEVEL) / 2)
"""Shares of the resamples below either end of such an interval."""


def top_k_probabilities(values: np.ndarray, k: int) -> np.ndarray:
    """Chance of each model to be among the k largest of its row when ties are broken at random; k <= n.

    values: (..., n); so is the answer.
    """
    border = -np.partition(-values, k - 1, axis=-1)[..., k - 1 : k]
    above, tied = values > border, values == border
    return above + tied * (k - above.sum(axis=-1, keepdims=True)) / tied.sum(axis=-1, keepdims=True)


def coverages_at_k(predicted: np.ndarray, observed: np.ndarray, k: int) -> np.ndarray:
    """`coverage_at_k` of each row of predicted and observed, (rankings, n) each."""
    return (top_k_probabilities(predicted, k) * top_k_probabilities(observed, k)).sum(axis=-1) / k


def coverage_at_k(predicted: np.ndarray, observed: np.ndarray, k: int) -> float:
    """Expected share of the k best observed models among the k best predicted; ties broken at random, independently.

    predicted, observed: (n,), k <= n. From 0 to 1; k / n for a random ranking of all models at once.
    """
    return float(coverages_at_k(predicted, observed, k))


def regret_at_k(predicted: np.ndarray, observed: np.ndarray, k: int) -> float:
    """Best observed value minus the best among the k picked by prediction, expected over random tie-breaking.

    predicted, observed: (n,), k <= n. In the unit of `observed`, 0 is perfect.
    """
    border = np.sort(predicted)[::-1][k - 1]
    sure, tied = observed[predicted > border], np.sort(observed[predicted == border])
    places = k - sure.size
    floor = sure.max() if sure.size else -np.inf
    orders = math.comb(tied.size, places)
    chance = np.array([math.comb(index, places - 1) / orders for index in range(tied.size)])  # of being the best drawn
    return float(observed.max() - chance @ np.maximum(tied, floor))


def jackknife_plus(
    centres: np.ndarray, residuals: np.ndarray, level: float = PREDICTION_LEVEL
) -> tuple[np.ndarray, np.ndarray]:
    """Jackknife+ / CV+ interval (Barber, Candes, Ramdas, Tibshirani 2021, Ann. Statist. 49(1), Eq. 1.7 and 5.1).

    centres: (rows, n), prediction of each row by the model that did not see training model i (nor its publisher);
    residuals: (n,), absolute error of that model on training model i. Returns low and high, (rows,).
    An end is infinite where n is too small for the level. For exchangeable models CV+ in K folds is guaranteed to cover
    2 * level - 1 less an excess of at most min(2 (1 - 1/K) / (n/K + 1), (1 - K/n) / (K + 1)) (their Theorem 4): 0.725
    for K = 9 and n = 36 at 0.90. Models of one publisher are not exchangeable with those of another, so even that is
    no promise here: coverage of held-out publishers is counted and reported, and `tests/benchmarks` simulates it.
    """
    n_models = residuals.size
    alpha = 1.0 - level
    lower_rank = math.floor(alpha * (n_models + 1) + 1e-9)
    upper_rank = math.ceil((1.0 - alpha) * (n_models + 1) - 1e-9)
    low, high = np.sort(centres - residuals, axis=1), np.sort(centres + residuals, axis=1)
    infinite = np.full(centres.shape[0], np.inf)
    return (
        low[:, lower_rank - 1] if lower_rank >= 1 else -infinite,
        high[:, upper_rank - 1] if upper_rank <= n_models else infinite,
    )


def residual_interval(predicted: np.ndarray, residuals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Prediction plus and minus one quantile of absolute residuals: for the paper's own protocols.

    predicted: (rows,); residuals: (n,). Too narrow if the residuals are in-sample; infinite if n is too small.
    """
    rank = math.ceil(PREDICTION_LEVEL * (residuals.size + 1) - 1e-9)
    reach = float(np.sort(residuals)[rank - 1]) if rank <= residuals.size else np.inf
    return predicted - reach, predicted + reach


def cluster_resamples(clusters: np.ndarray, n_resamples: int, seed: int) -> list[np.ndarray]:
    """Row numbers of each resample: as many clusters as there are, drawn with replacement, each with all its rows."""
    names, member = np.unique(clusters, return_inverse=True)
    rows = [np.flatnonzero(member == cluster) for cluster in range(len(names))]
    draws = np.random.default_rng(seed).integers(len(names), size=(n_resamples, len(names)))
    return [np.concatenate([rows[cluster] for cluster in draw]) for draw in draws]
