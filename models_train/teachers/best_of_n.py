"""Best of n by a reward, and over-optimisation: the gold reward against the distance from the policy.

The estimator of Gao et al. 2022 (definitions, Section 13): the best of n responses drawn from the N that there are,
averaged over all draws without replacement. Responses of equal reward share the mean of their gold rewards, which is
the average over random tie-breaking. Distances d are the square root of a KL divergence, in sqrt(nats).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import lambertw

from models_train.selection.item_metrics import Floats

Form = Literal["best_of_n", "rl"]
Sizes = Sequence[int]

FEWEST_POINTS = 3
"""Fewest points of a fit of two parameters that can be wrong."""
POOR_FIT = 0.1
"""Root mean square of the residuals, as a share of the range of the curve, above which a fit says nothing."""
LISTED = 16
"""Sizes n up to this one are all computed, larger ones four per doubling."""


def sizes_up_to(n_pool: int) -> list[int]:
    """Sizes n of a pool of responses: each up to 16, then about four per doubling, and the whole pool."""
    found = {*range(1, min(n_pool, LISTED) + 1), n_pool}
    found |= {round(LISTED * 2 ** (step / 4)) for step in range(1, 64) if LISTED * 2 ** (step / 4) < n_pool}
    return sorted(found)


def kl_bound(n: ArrayLike) -> Floats:
    """KL divergence of best of n from the policy, log n - (n-1)/n in nats: exact without ties, else an upper bound."""
    size = np.asarray(n, float)
    return np.log(size) - (size - 1) / size


def n_at_kl(kl: ArrayLike) -> Floats:
    """The n, not a whole number, whose `kl_bound` is kl >= 0."""
    divergence = np.asarray(kl, float)
    found = -1 / lambertw(-np.exp(-(1 + np.maximum(divergence, 1e-12)))).real
    return np.where(divergence > 0, found, 1.0)


def selection_weights(n_pool: int, sizes: Sizes) -> Floats:
    """Chance that the i-th response by rising reward is the best of n: C(i-1, n-1) / C(N, n), (pool, sizes).

    Each is the one above it times (i-n+1) / i, which never overflows.
    """
    places = np.arange(1, n_pool)
    weights = np.empty((n_pool, len(sizes)))
    for column, n in enumerate(sizes):
        steps = np.maximum(places - n + 1, 0) / places
        weights[:, column] = n / n_pool * np.append(np.cumprod(steps[::-1])[::-1], 1.0)
    return weights


def shared_over_ties(ordered: Floats, values: Floats) -> Floats:
    """Values of which those of equal reward are replaced by their mean. ordered: rewards, rising; both (..., pool)."""
    n = ordered.shape[-1]
    rows, own = ordered.reshape(-1, n), values.reshape(-1, n).copy()
    begins = np.ones(rows.shape, bool)
    begins[:, 1:] = rows[:, 1:] != rows[:, :-1]
    tied = np.flatnonzero(~begins.all(axis=1))
    runs = np.cumsum(begins[tied].ravel()) - 1
    means = np.bincount(runs, own[tied].ravel()) / np.maximum(np.bincount(runs), 1) if tied.size else np.empty(0)
    own[tied] = means[runs].reshape(tied.size, n)
    return own.reshape(values.shape)


@dataclass(frozen=True)
class Curves:
    """Expected reward and gold of the best of n: (rewards, prompts, sizes), NaN for a prompt of fewer responses."""

    sizes: list[int]
    proxy: Floats
    gold: Floats

    def gains(self, what: Literal["proxy", "gold"]) -> Floats:
        """Rise over one random response; n = 1 is the first size."""
        values: Floats = getattr(self, what)
        return values - values[..., :1]


def curves(rewards: Floats, gold: Floats, sizes: Sizes) -> Curves:
    """Best-of-n curves of every prompt. rewards: (rewards, prompts, responses), gold: (prompts, responses).

    NaN marks cells without a response. The prompts of each number of responses are computed together.
    """
    listed = sorted({1, *sizes})
    shape = (*rewards.shape[:2], len(listed))
    proxies, golds = np.full(shape, np.nan), np.full(shape, np.nan)
    n_there = (~np.isnan(gold)).sum(axis=1)
    for n_pool in np.unique(n_there[n_there > 0]).tolist():
        prompts = np.flatnonzero(n_there == n_pool)
        fits = [place for place, n in enumerate(listed) if n <= n_pool]
        weights = selection_weights(n_pool, [listed[place] for place in fits])
        cells = np.argsort(np.isnan(gold[prompts]), axis=1, kind="stable")[:, :n_pool]
        own = np.take_along_axis(rewards[:, prompts], cells[None], axis=2)
        true = np.broadcast_to(np.take_along_axis(gold[prompts], cells, axis=1), own.shape)
        order = np.argsort(own, axis=2)
        ordered = np.take_along_axis(own, order, axis=2)
        shared = shared_over_ties(ordered, np.take_along_axis(true, order, axis=2))
        places = np.ix_(np.arange(len(rewards)), prompts, np.array(fits))
        proxies[places], golds[places] = ordered @ weights, shared @ weights
    return Curves(listed, proxies, golds)


def _columns(d: Floats, form: Form) -> Floats:
    """What alpha and beta are multiplied by: (points, 2)."""
    if form == "best_of_n":
        return np.stack([d, -(d**2)], axis=1)
    return np.stack([d, -d * np.log(d)], axis=1)


def fit(d: Floats, gains: Floats, form: Form) -> Floats:
    """alpha and beta of the form of Gao et al. by least squares through 0: (..., 2).

    d: (points,), above 0; gains: (..., points), gold less that of the policy itself. best_of_n: d (alpha - beta d);
    rl: d (alpha - beta ln d), which is not meant near d = 0.
    """
    return np.asarray(gains @ np.linalg.pinv(_columns(d, form)).T)


def fitted(d: Floats, parameters: Floats, form: Form) -> Floats:
    """Gains by the form at some distances. parameters: (..., 2), alpha and beta; (..., points)"""
    return np.asarray(parameters @ _columns(d, form).T)


def peaks(parameters: Floats, form: Form) -> tuple[Floats, Floats]:
    """Distance and gain of the peak of the form, (...) each; NaN where alpha or beta is not above 0 (rl: beta)."""
    alpha, beta = parameters[..., 0], parameters[..., 1]
    has_peak = (beta > 0) & ((alpha > 0) | (form == "rl"))
    safe = np.where(has_peak, beta, 1.0)
    with np.errstate(over="ignore"):
        d = alpha / (2 * safe) if form == "best_of_n" else np.exp(alpha / safe - 1)
    gain = alpha * d / 2 if form == "best_of_n" else beta * d
    return np.where(has_peak, d, np.nan), np.where(has_peak, gain, np.nan)


def statuses(d: Floats, gains: Floats, form: Form) -> NDArray[np.str_]:
    """What the fit says of each curve, (...). gains: (..., points).

    flat: the gold does not change; poor_fit: the residuals' root mean square is above a tenth of the range of the
    curve, 0 at d = 0 included; falling: alpha <= 0; rising: beta <= 0; inner_peak: within the distances measured;
    beyond_range: later.
    """
    parameters = fit(d, gains, form)
    alpha, beta = parameters[..., 0], parameters[..., 1]
    peak, _ = peaks(parameters, form)
    extent = np.maximum(gains.max(axis=-1), 0) - np.minimum(gains.min(axis=-1), 0)
    conditions = [
        extent <= 1e-12 * np.maximum(np.abs(gains).max(axis=-1), 1e-300),
        rmse(d, gains, form) > POOR_FIT * extent,
        alpha <= 0,
        beta <= 0,
        peak <= d.max(),
    ]
    return np.select(conditions, ["flat", "poor_fit", "falling", "rising", "inner_peak"], "beyond_range")


def rmse(d: Floats, gains: Floats, form: Form) -> Floats:
    """Root mean square of the residuals of the fit, (...)."""
    return np.sqrt(np.square(gains - fitted(d, fit(d, gains, form), form)).mean(axis=-1))


@dataclass(frozen=True)
class OverOptimisation:
    """The fit of one curve, for the sample. Figures are None where there are none; gains are over the policy itself."""

    alpha: float | None
    beta: float | None
    d_peak: float | None
    kl_peak: float | None
    n_peak: float | None
    gold_peak: float | None
    gold_at_largest: float | None
    drop_after_peak: float | None
    rmse: float | None
    n_points: int
    status: str


def over_optimisation(d: Floats, gains: Floats, form: Form) -> OverOptimisation:
    """Fit of one curve with its status. d: (points,), above 0; gains: (points,).

    A peak is given where it is within the distances measured, or beyond them, as the status says; the drop is that of
    the fitted curve from an inner peak to the largest distance. n_peak belongs to an inner peak of best of n.
    """
    keep = (d > 0) & ~np.isnan(gains)
    d, gains = d[keep], gains[keep]
    if d.size < FEWEST_POINTS:
        last = float(gains[d.argmax()]) if d.size else None
        few = f"fewer than {FEWEST_POINTS} points"
        return OverOptimisation(None, None, None, None, None, None, last, None, None, int(d.size), few)
    parameters, status = fit(d, gains, form), str(statuses(d, gains, form))
    (peak, gold_peak), error = peaks(parameters, form), float(rmse(d, gains, form))
    largest = float(gains[d.argmax()])
    alpha, beta = (float(one) for one in parameters)
    if status not in ("inner_peak", "beyond_range") or not np.isfinite(peak):
        return OverOptimisation(alpha, beta, None, None, None, None, largest, None, error, int(d.size), status)
    at_end = float(fitted(d[[d.argmax()]], parameters, form)[0])
    drop = float(gold_peak) - at_end if status == "inner_peak" else None
    n_peak = float(n_at_kl(peak**2)) if form == "best_of_n" and status == "inner_peak" else None
    return OverOptimisation(
        alpha, beta, float(peak), float(peak**2), n_peak, float(gold_peak), largest, drop, error, int(d.size), status
    )
