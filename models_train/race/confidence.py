"""Bounds of the mean difference of two candidates on the same items, valid however often one looks.

Within a look: the capital of a gambler who bets against a mean, item by item (Waudby-Smith and Ramdas 2024, "Estimating
means of bounded random variables by betting", JRSS B 86). Where the mean is at most h, the capital is a
supermartingale that begins at 1, so that it ever reaches 1/alpha with probability alpha at most (Ville): the bound
holds after any number of items, for any distribution on [-1, 1], without an approximation. Items are draws of a
population, in random order.

Over looks: the outcomes of two looks are not one sample, since the models have been trained on between them, and no
martingale links them. Look k has the share alpha / (k (k + 1)), whose sum over all looks is alpha (union bound).
Over pairs: the best candidate is dropped by mistake only if one of its own bounds fails, one for each of the K - 1
others; alpha is shared among these.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MOST_BET = 0.75
"""Largest share of the capital that one item can cost."""
_HALVINGS = 24
"""Bisections of an interval of width 2: to 1e-7."""


def share_of_look(alpha: float, look: int) -> float:
    """What look number `look`, from 1, may spend of alpha."""
    return alpha / (look * (look + 1))


def lower_bounds(differences: Floats, alpha: float) -> Floats:
    """One-sided lower bounds of means, each at level 1 - alpha, (pairs,). differences: (pairs, items), -1 to 1.

    -1 where nothing is shown.
    """
    below, above = np.full(len(differences), -1.0), differences.mean(axis=1)
    bets = _bets(differences, alpha)
    for _ in range(_HALVINGS):
        middle = (below + above) / 2
        is_beaten = _largest_log_capital(differences, bets, middle) >= -np.log(alpha)
        below, above = np.where(is_beaten, middle, below), np.where(is_beaten, above, middle)
    return below


def upper_bounds(differences: Floats, alpha: float) -> Floats:
    """One-sided upper bounds of means, each at level 1 - alpha, (pairs,); 1 where nothing is shown."""
    return -lower_bounds(-differences, alpha)


def _bets(differences: Floats, alpha: float) -> Floats:
    """Bets on each item, (pairs, items), by the variance of the items before it, and the number of items."""
    n = differences.shape[1]
    count = np.arange(1, n + 1)
    means = np.cumsum(differences, axis=1) / (count + 1)
    variances = (1 + np.cumsum((differences - means) ** 2, axis=1)) / (count + 1)
    before = np.concatenate([np.ones((len(differences), 1)), variances[:, :-1]], axis=1)
    return np.asarray(np.sqrt(-2 * np.log(alpha) / (n * before)))


def _largest_log_capital(differences: Floats, bets: Floats, mean: Floats) -> Floats:
    """Largest logarithm of the capital over the items, (pairs,), of bets that the mean is above `mean`, (pairs,)."""
    shift = mean[:, None]
    bet = np.minimum(bets, MOST_BET / (1 + shift).clip(1e-12))
    return np.asarray(np.log1p(bet * (differences - shift)).cumsum(axis=1).max(axis=1))
