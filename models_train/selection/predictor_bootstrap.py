"""Bootstrap over the base models of reward models: intervals of correlations, and one predictor against another.

Reward models of one base model are drawn together, since they are alike. Ranks are taken again in every resample. A
difference of two predictors is computed in the same resamples for both, and so is the rank correlation of a predictor
with what is left of the target once another predictor is taken off.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from models_train.selection.item_statistics import MIN_REWARDS, seed_of
from models_train.selection.scores import INTERVAL_ENDS

Floats = NDArray[np.float64]

MINIMUM_DEFINED = 0.5
"""Least share of resamples in which a coefficient is defined; below it there is no interval."""
LEAST_SPREAD = 1e-12
"""Variance of ranks or values, relative to their size, below which they count as equal."""


@dataclass(frozen=True)
class Resamples:
    """How often each reward model is in every resample: counts (resamples, reward models)."""

    counts: Floats

    def interval(self, values: Floats) -> tuple[float | None, float | None]:
        """Ends of the 95 % percentile interval of values (resamples,); None where too few of them are defined."""
        known = values[np.isfinite(values)]
        if known.size < MINIMUM_DEFINED * values.size:
            return None, None
        low, high = np.quantile(known, INTERVAL_ENDS)
        return float(low), float(high)


def resample(groups: NDArray[np.str_], resamples: int, name: str) -> Resamples | str:
    """Resamples of the groups of reward models (reward models,), or the reason for none. name: it is the seed."""
    names, places = np.unique(groups, return_inverse=True)
    if names.size < MIN_REWARDS:
        return f"no interval: fewer than {MIN_REWARDS} base models"
    shares = np.full(names.size, 1 / names.size)
    drawn = np.random.default_rng(seed_of(name)).multinomial(names.size, shares, size=resamples)
    return Resamples(drawn[:, places].astype(float))


def resampled_coefficients(x: Floats, y: Floats, counts: Floats, *, ranked: bool) -> Floats:
    """Mean over policies of the correlation of x and y (policies, reward models) in every resample: (resamples,).

    counts: (resamples, reward models). ranked: Spearman's, else Pearson's. NaN where one is not defined.
    """
    found = []
    for pair in zip(x, y, strict=True):
        one, other = (_ranks(side, counts) if ranked else side for side in pair)
        found.append(weighted_correlation(one, other, counts))
    return np.asarray(np.mean(found, axis=0))


def resampled_partials(x: Floats, y: Floats, z: Floats, counts: Floats) -> Floats:
    """Mean over policies of the rank correlation of x and y given z, each (policies, reward models): (resamples,)."""
    found = []
    for row in zip(x, y, z, strict=True):
        one, other, given = (_ranks(side, counts) for side in row)
        found.append(
            _partial(
                weighted_correlation(one, other, counts),
                weighted_correlation(one, given, counts),
                weighted_correlation(other, given, counts),
            )
        )
    return np.asarray(np.mean(found, axis=0))


def partial_spearman(x: Floats, y: Floats, z: Floats) -> float:
    """Rank correlation of x and y (n,) given z; NaN where z determines one of them."""
    rho = stats.spearmanr(np.stack([x, y, z], axis=1)).statistic
    return float(_partial(rho[0, 1], rho[0, 2], rho[1, 2]))


def _partial(xy: Floats, xz: Floats, yz: Floats) -> Floats:
    room = (1 - np.square(xz)) * (1 - np.square(yz))
    is_there = room > LEAST_SPREAD
    return np.where(is_there, (xy - xz * yz) / np.sqrt(np.where(is_there, room, 1.0)), np.nan)


def _ranks(values: Floats, counts: Floats) -> Floats:
    """Ranks of values (n,) in every resample, equal ones sharing the mean: (resamples, n)."""
    lower, equal = (values[None] < values[:, None]).astype(float), (values[None] == values[:, None]).astype(float)
    return np.asarray(counts @ lower.T + (counts @ equal.T + 1) / 2)


def weighted_correlation(x: Floats, y: Floats, counts: Floats) -> Floats:
    """Pearson's r in every resample, (resamples,). x, y: (n,) or (resamples, n); counts: (resamples, n)."""
    n = counts.sum(axis=1, keepdims=True)
    one, other = (side - (side * counts).sum(axis=1, keepdims=True) / n for side in (x, y))
    products, squares, others = ((counts * part).sum(axis=1) for part in (one * other, one**2, other**2))
    sizes = [np.square(np.abs(side).max()) * n[:, 0] * LEAST_SPREAD for side in (x, y)]
    is_there = (squares > sizes[0]) & (others > sizes[1])
    return np.where(is_there, products / np.sqrt(np.where(is_there, squares * others, 1.0)), np.nan)
