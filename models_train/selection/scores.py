"""Scores of a ranking or a prediction: coverage@k (paper, Eq. 9), regret@k, mean absolute error, differences."""

from __future__ import annotations

from math import comb

import numpy as np

from models_train.selection.intervals import cluster_bootstrap_mean

COVERAGE_STEPS = (5, 10, 15, 20, 25, 30)


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
    orders = comb(tied.size, places)
    chance = np.array([comb(index, places - 1) / orders for index in range(tied.size)])  # of being the best drawn
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
