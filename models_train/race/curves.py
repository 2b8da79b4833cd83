"""Accuracy at the full data, extrapolated from the curves of all candidates so far (definitions, Section 15).

A Gaussian process over the doublings x of the training examples. A candidate's accuracy is a level and a path that all
share, its own deviation, and the noise of a training:

    y_m(x) = mu(x) + a_m(x) + e,   cov(a_m(x), a_n(x')) = C_mn (start^2 + walk^2 min(v, v') + trend^2 v v')

with v(x) the integral of decay^t over t from 0 to x: what a doubling changes becomes less, or more, with the data. C is
(1 - likeness) I + likeness Z Z': bases of like size and benchmarks go alike. mu has a level and a slope in v that are
unknown, and a walk of its own. Scales, decay and likeness are not fitted but averaged: draws of their prior, weighted by
the marginal likelihood of the curves (Rasmussen and Williams 2006, chapters 2 and 5). So the spread of the candidates'
changes so far says how much they may change still; after one look the prior says it alone. Curves as a process whose
hyperparameters are averaged: Swersky, Snoek and Adams 2014, arXiv 1406.3896.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import linalg, special, stats
from scipy.stats import qmc

from models_train.race.rules import Floats

N_SETTINGS = 128
"""Draws of the hyperparameters."""
_LEVEL, _SLOPE = 30.0, 10.0
"""Standard deviations of the shared level, and of its change per doubling, in points: nearly flat."""
_OFFSET = 10.0
"""Standard deviation of what all forecasts of a prior may be off together, in points."""
_JITTER = 1e-4
_IGNORED = 1e-5
"""Weight below which a setting is left out."""


@dataclass(frozen=True)
class Points:
    """Looks as the process sees them.

    candidate: (n,) place of the candidate. doublings: (n,) log2 of examples over the first rung's. accuracy: (n,) points.
    item_covariance: (n, n), of the error of the accuracies by the items that are not scored yet, in points squared.
    """

    candidate: np.ndarray
    doublings: Floats
    accuracy: Floats
    item_covariance: Floats


@dataclass(frozen=True)
class Priors:
    """Knowledge beside the looks. likeness: (candidates, candidates), mean of the products of standardised features, 1
    at most on the diagonal. mean, sd: (candidates,) forecast of the accuracy at the full data; NaN for none."""

    likeness: Floats
    mean: Floats
    sd: Floats


@dataclass(frozen=True)
class Forecast:
    """Accuracy of all candidates at the full data, up to a shared level: a mixture of normal distributions.

    weight: (s,); mean: (s, candidates); covariance: (s, candidates, candidates). draws: (n_draws, candidates).
    """

    weight: Floats
    mean: Floats
    covariance: Floats
    draws: Floats

    @property
    def expected(self) -> Floats:
        """(candidates,) means."""
        return np.asarray(self.weight @ self.mean)

    def lead(self, one: int, other: int) -> tuple[float, float]:
        """Mean and standard deviation of the lead of one candidate over another, in points."""
        means, sds = self._leads(one, other)
        mean = float(self.weight @ means)
        return mean, float(np.sqrt(self.weight @ (sds**2 + means**2) - mean**2))

    def chance_above(self, one: int, other: int, points: float) -> float:
        """Probability that one candidate leads another by more than `points`."""
        means, sds = self._leads(one, other)
        return float(self.weight @ stats.norm.sf(points, means, sds))

    def quantile(self, one: int, other: int, share: float) -> float:
        """Quantile of the lead of one candidate over another, in points."""
        means, sds = self._leads(one, other)
        reach = 40 * sds.max() + 1e-9
        low, high = means.min() - reach, means.max() + reach
        for _ in range(50):
            middle = (low + high) / 2
            below = float(self.weight @ special.ndtr((middle - means) / sds)) < share
            low, high = (middle, high) if below else (low, middle)
        return float(high)

    def _leads(self, one: int, other: int) -> tuple[Floats, Floats]:
        variance = self.covariance[:, one, one] + self.covariance[:, other, other] - 2 * self.covariance[:, one, other]
        return self.mean[:, one] - self.mean[:, other], np.sqrt(np.maximum(variance, 1e-12))


@dataclass(frozen=True)
class _Settings:
    """Hyperparameters, (s,) each; standard deviations in points. shared: of the shared walk per doubling."""

    start: Floats
    walk: Floats
    trend: Floats
    noise: Floats
    shared: Floats
    decay: Floats
    likeness: Floats


@lru_cache(maxsize=1)
def _settings() -> _Settings:
    """Draws of the prior: the same in every race, by a Sobol sequence."""
    cube = qmc.Sobol(7, scramble=True, rng=np.random.default_rng(0)).random(N_SETTINGS)
    normal = stats.norm.ppf(cube)

    def log_normal(place: int, median: float, spread: float) -> Floats:
        return np.asarray(median * np.exp(spread * normal[:, place]))

    return _Settings(
        start=log_normal(0, 2.0, 1.0),
        walk=log_normal(1, 1.5, 0.7),
        trend=log_normal(2, 0.5, 1.0),
        noise=log_normal(3, 0.7, 0.7),
        shared=log_normal(4, 2.0, 0.7),
        decay=log_normal(5, 0.85, 0.25),
        likeness=0.8 * cube[:, 6],
    )


def forecast(points: Points, full: float, priors: Priors, n_draws: int, seed: int) -> Forecast:
    """The accuracies at `full` doublings, given the looks. The same arguments give the same draws."""
    settings = _settings()
    n_candidates = len(priors.mean)
    candidate = np.concatenate([points.candidate, np.arange(n_candidates)])
    doublings = np.append(points.doublings, np.full(n_candidates, full))
    level = points.accuracy.mean()
    known = np.flatnonzero(~np.isnan(priors.mean))
    n = len(points.candidate)
    observed = np.append(points.accuracy, priors.mean[known]) - level
    rows = np.append(np.arange(n), n + known)
    error = np.zeros((len(rows), len(rows)))
    error[:n, :n] = points.item_covariance
    error[n:, n:] = np.diag(priors.sd[known] ** 2) + _OFFSET**2
    error += _JITTER * np.eye(len(rows))
    fits, log_weights = [], np.full(N_SETTINGS, -np.inf)
    for number in range(N_SETTINGS):
        kernel = _kernel(settings, number, candidate, doublings, priors.likeness)
        try:
            lower = linalg.cholesky(kernel[np.ix_(rows, rows)] + error, lower=True, check_finite=False)
        except linalg.LinAlgError:
            fits.append((np.zeros(n_candidates), np.zeros((n_candidates, n_candidates))))
            continue
        white = linalg.solve_triangular(lower, observed, lower=True, check_finite=False)
        half = linalg.solve_triangular(lower, kernel[np.ix_(rows, range(n, n + n_candidates))], lower=True)
        log_weights[number] = -0.5 * white @ white - np.log(lower.diagonal()).sum()
        fits.append((level + half.T @ white, kernel[n:, n:] - half.T @ half))
    weight = np.exp(log_weights - log_weights.max())
    weight /= weight.sum()
    kept = weight > _IGNORED
    weight = weight[kept] / weight[kept].sum()
    mean = np.array([one for one, _ in fits])[kept]
    covariance = np.array([one for _, one in fits])[kept]
    return Forecast(weight, mean, covariance, _draws(weight, mean, covariance, n_draws, seed))


def _kernel(settings: _Settings, number: int, candidate: np.ndarray, doublings: Floats, likeness: Floats) -> Floats:
    """Prior covariance of accuracies, (n, n), the noise of a training included: equal points are one training."""
    decay, share = settings.decay[number], settings.likeness[number]
    # Looks begin at the first rung: what differs there is `start`. The slope is reckoned from there, too.
    v = np.expm1(doublings * np.log(decay)) / np.log(decay)
    shorter = np.minimum.outer(v, v)
    same = candidate[:, None] == candidate[None, :]
    alike = np.where(same, 1 - share, 0.0) + share * likeness[np.ix_(candidate, candidate)]
    own = (
        settings.start[number] ** 2
        + settings.walk[number] ** 2 * shorter
        + settings.trend[number] ** 2 * np.outer(v, v)
    )
    shared = _LEVEL**2 + _SLOPE**2 * np.outer(v, v) + settings.shared[number] ** 2 * shorter
    one_training = same & (doublings[:, None] == doublings[None, :])
    return np.asarray(alike * own + shared + settings.noise[number] ** 2 * one_training)


def _draws(weight: Floats, mean: Floats, covariance: Floats, n_draws: int, seed: int) -> Floats:
    """(n_draws, candidates) of the mixture."""
    generator = np.random.default_rng(seed)
    counts = generator.multinomial(n_draws, weight)
    draws = [
        generator.multivariate_normal(mean[one], covariance[one], counts[one], check_valid="ignore", method="eigh")
        for one in np.flatnonzero(counts)
    ]
    return np.concatenate(draws)
