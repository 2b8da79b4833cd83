"""Scores of a ranking or a prediction, and their intervals.

coverage@k (paper, Eq. 9), regret@k, mean absolute error, differences; grouped CV+ for a prediction, publisher-cluster
bootstrap for a mean over models.
"""

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
    """Chance (n,) of each model to be among the k largest `values` (n,) when ties are broken at random; k <= n."""
    border = np.sort(values)[::-1][k - 1]
    above, tied = values > border, values == border
    return above + tied * (k - above.sum()) / tied.sum()


def coverage_at_k(predicted: np.ndarray, observed: np.ndarray, k: int) -> float:
    """Expected share of the k best observed models among the k best predicted; ties broken at random, independently.

    predicted, observed: (n,), k <= n. From 0 to 1; the chance level is k / n.
    """
    return float(top_k_probabilities(predicted, k) @ top_k_probabilities(observed, k) / k)


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


def mean_absolute_error(
    predicted: np.ndarray, observed: np.ndarray, publishers: np.ndarray, n_resamples: int = 1000, seed: int = 0
) -> tuple[float, float, float]:
    """Mean absolute error over models with its 95 % publisher-cluster bootstrap interval; in the target's unit."""
    errors = np.abs(predicted - observed)
    low, high = cluster_bootstrap_mean(errors, publishers, n_resamples, seed)
    return float(errors.mean()), low, high


def error_difference(
    predicted: np.ndarray,
    reference: np.ndarray,
    observed: np.ndarray,
    publishers: np.ndarray,
    n_resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """Mean absolute error minus that of `reference`, model by model, with its 95 % publisher-cluster interval.

    The whole interval below zero: better than the reference, whichever publishers are sampled.
    """
    differences = np.abs(predicted - observed) - np.abs(reference - observed)
    low, high = cluster_bootstrap_mean(differences, publishers, n_resamples, seed)
    return float(differences.mean()), low, high


def jackknife_plus(
    centres: np.ndarray, residuals: np.ndarray, level: float = PREDICTION_LEVEL
) -> tuple[np.ndarray, np.ndarray]:
    """Jackknife+ / CV+ interval (Barber, Candes, Ramdas, Tibshirani 2021, Ann. Statist. 49(1), Eq. 1.7 and 5.1).

    centres: (rows, n), prediction of each row by the model that did not see training model i (nor its publisher);
    residuals: (n,), absolute error of that model on training model i. Returns low and high, (rows,).
    An end is infinite where n is too small for the level. Guaranteed coverage 2 * level - 1 for exchangeable
    publishers of like size, about `level` in practice; `tests/benchmarks` measures it.
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


def cluster_bootstrap_mean(
    values: np.ndarray, clusters: np.ndarray, n_resamples: int, seed: int
) -> tuple[float, float]:
    """Percentile interval of the mean of `values` (models,) when whole clusters (publishers) are resampled."""
    names, member = np.unique(clusters, return_inverse=True)
    sums, sizes = np.bincount(member, values), np.bincount(member)
    draws = np.random.default_rng(seed).integers(len(names), size=(n_resamples, len(names)))
    means = sums[draws].sum(axis=1) / sizes[draws].sum(axis=1)
    low, high = np.quantile(means, INTERVAL_ENDS)
    return float(low), float(high)
