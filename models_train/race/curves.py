"""Accuracy at the full data, extrapolated from the curves of all candidates so far (definitions, Section 15).

A Gaussian process over the doublings x of the training examples. An arm is a base m at a rate r:

    y_mr(x) = mu(x) + rho_r(x) + a_m(x) + b_mr(x) + e
    cov(a_m(x), a_n(x')) = C_mn k(x, x'),  cov(b_mr(x), b_mr(x')) = apart^2 k(x, x')
    k(x, x') = level^2 + start^2 fade^(x + x') + walk^2 min(v, v') + trend^2 v v'

mu and rho, what all arms and all arms of a rate have in common, are nearly unknown levels and slopes with a walk.
`start` is what the first rungs show and the data wipe out; v(x) is the integral of decay^t over t from 0 to x: what a
doubling changes becomes less, or more, with the data. C = (1 - likeness) I + likeness Z Z': bases of like size and
benchmarks go alike. e is the noise of a training. Scales, fade, decay and likeness are not fitted but averaged: draws
of their prior, weighted by the marginal likelihood of the curves (Rasmussen and Williams 2006, chapters 2 and 5). So
the changes so far say how much may change still; after one look the prior says it alone. Curves as processes whose
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

    base, rate: (n,) places. doublings: (n,) log2 of examples over the first rung's. accuracy: (n,) points.
    item_covariance: (n, n), of the error of the accuracies by items that are not scored yet, in points squared.
    """

    base: np.ndarray
    rate: np.ndarray
    doublings: Floats
    accuracy: Floats
    item_covariance: Floats


@dataclass(frozen=True)
class Arms:
    """What is forecast: base, rate: (arms,) places."""

    base: np.ndarray
    rate: np.ndarray


@dataclass(frozen=True)
class Priors:
    """Knowledge beside the looks. likeness: (bases, bases), mean of the products of standardised features. arm:
    (known,) places of the arms that a forecast is of, mean, sd: (known,) of their accuracies at the full data."""

    likeness: Floats
    arm: np.ndarray
    mean: Floats
    sd: Floats


@dataclass(frozen=True)
class Forecast:
    """Accuracy of all arms at the full data, in points: a mixture of normal distributions.

    weight: (s,); mean: (s, arms); covariance: (s, arms, arms). draws: (n_draws, arms).
    """

    weight: Floats
    mean: Floats
    covariance: Floats
    draws: Floats

    @property
    def expected(self) -> Floats:
        """(arms,) means."""
        return np.asarray(self.weight @ self.mean)

    def chance_above(self, one: int, other: int, points: float) -> float:
        """Probability that one arm leads another by more than `points`."""
        means, sds = self._leads(one, other)
        return float(self.weight @ stats.norm.sf(points, means, sds))

    def quantile(self, one: int, other: int, share: float) -> float:
        """Quantile of the lead of one arm over another, in points."""
        means, sds = self._leads(one, other)
        reach = 40 * sds.max() + 1e-9
        low, high = means.min() - reach, means.max() + reach
        for _ in range(40):
            middle = (low + high) / 2
            below = float(self.weight @ special.ndtr((middle - means) / sds)) < share
            low, high = (middle, high) if below else (low, middle)
        return float(high)

    def _leads(self, one: int, other: int) -> tuple[Floats, Floats]:
        variance = self.covariance[:, one, one] + self.covariance[:, other, other] - 2 * self.covariance[:, one, other]
        return self.mean[:, one] - self.mean[:, other], np.sqrt(np.maximum(variance, 1e-12))


@dataclass(frozen=True)
class Settings:
    """Hyperparameters, (s,) each; standard deviations in points, of walks and trends per doubling."""

    level: Floats
    start: Floats
    walk: Floats
    trend: Floats
    noise: Floats
    shared: Floats
    apart: Floats
    decay: Floats
    fade: Floats
    likeness: Floats


@lru_cache(maxsize=1)
def prior_settings() -> Settings:
    """Draws of the prior: the same in every race, by a Sobol sequence."""
    cube = qmc.Sobol(10, scramble=True, rng=np.random.default_rng(0)).random(N_SETTINGS)
    normal = stats.norm.ppf(cube)

    def log_normal(place: int, median: float, spread: float) -> Floats:
        return np.asarray(median * np.exp(spread * normal[:, place]))

    return Settings(
        level=log_normal(0, 1.5, 0.8),
        start=log_normal(1, 3.0, 0.8),
        walk=log_normal(2, 1.0, 0.7),
        trend=log_normal(3, 0.3, 0.8),
        noise=log_normal(4, 0.7, 0.7),
        shared=log_normal(5, 2.0, 0.7),
        apart=log_normal(6, 0.5, 0.6),
        decay=log_normal(7, 0.8, 0.25),
        fade=0.3 + 0.7 * cube[:, 8],
        likeness=0.8 * cube[:, 9],
    )


def forecast(points: Points, arms: Arms, full: float, priors: Priors, n_draws: int, seed: int) -> Forecast:
    """The accuracies of arms at `full` doublings, given the looks. The same arguments give the same draws."""
    settings, n, n_arms = prior_settings(), len(points.base), len(arms.base)
    base, rate = np.append(points.base, arms.base), np.append(points.rate, arms.rate)
    doublings = np.append(points.doublings, np.full(n_arms, full))
    level = points.accuracy.mean()
    observed = np.append(points.accuracy, priors.mean) - level
    rows, ends = np.append(np.arange(n), n + priors.arm), np.arange(n, n + n_arms)
    error = np.zeros((len(rows), len(rows)))
    error[:n, :n] = points.item_covariance
    error[n:, n:] = np.diag(priors.sd**2) + _OFFSET**2
    error += _JITTER * np.eye(len(rows))
    parts = _Parts.of(base, rate, doublings, priors.likeness)
    fits, log_weights = [], []
    for number in range(N_SETTINGS):
        kernel = parts.kernel(settings, number)
        try:
            lower = linalg.cholesky(kernel[np.ix_(rows, rows)] + error, lower=True, check_finite=False)
        except linalg.LinAlgError:  # settings at which rounding hides a variance say nothing
            continue
        white = linalg.solve_triangular(lower, observed, lower=True, check_finite=False)
        half = linalg.solve_triangular(lower, kernel[np.ix_(rows, ends)], lower=True, check_finite=False)
        log_weights.append(-0.5 * white @ white - np.log(lower.diagonal()).sum())
        fits.append((level + half.T @ white, kernel[n:, n:] - half.T @ half))
    weight = np.exp(np.array(log_weights) - max(log_weights))
    kept = np.flatnonzero(weight > _IGNORED * weight.sum())
    weight = weight[kept] / weight[kept].sum()
    mean, covariance = (np.array([fits[place][part] for place in kept]) for part in (0, 1))
    return Forecast(weight, mean, covariance, _draws(weight, mean, covariance, n_draws, seed))


@dataclass(frozen=True)
class _Parts:
    """What the kernels of all settings have in common, (n, n) each."""

    doublings: Floats
    same_base: np.ndarray
    same_rate: np.ndarray
    likeness: Floats
    one_training: np.ndarray

    @classmethod
    def of(cls, base: np.ndarray, rate: np.ndarray, doublings: Floats, likeness: Floats) -> _Parts:
        """Of points; equal ones are one training."""
        same_base, same_rate = base[:, None] == base, rate[:, None] == rate
        one_training = same_base & same_rate & (doublings[:, None] == doublings)
        return cls(doublings, same_base, same_rate, likeness[np.ix_(base, base)], one_training)

    def kernel(self, settings: Settings, number: int) -> Floats:
        """Prior covariance of accuracies at one draw of the settings."""
        decay, share, fade = (getattr(settings, name)[number] for name in ("decay", "likeness", "fade"))
        level, start, walk, trend = (
            getattr(settings, name)[number] ** 2 for name in ("level", "start", "walk", "trend")
        )
        v = np.expm1(self.doublings * np.log(decay)) / np.log(decay)
        shorter, product = np.minimum.outer(v, v), np.outer(v, v)
        faded = fade**self.doublings
        own = level + start * np.outer(faded, faded) + walk * shorter + trend * product
        alike = (1 - share) * self.same_base + share * self.likeness
        apart = settings.apart[number] ** 2 * (self.same_base & self.same_rate)
        common = _LEVEL**2 + _SLOPE**2 * product
        changes = settings.shared[number] ** 2 * shorter
        of_rate = self.same_rate * (_LEVEL**2 / 9 + _SLOPE**2 / 9 * product + changes)
        return np.asarray(
            common + changes + of_rate + (alike + apart) * own + settings.noise[number] ** 2 * self.one_training
        )


def _draws(weight: Floats, mean: Floats, covariance: Floats, n_draws: int, seed: int) -> Floats:
    """(n_draws, arms) of the mixture."""
    generator = np.random.default_rng(seed)
    counts = generator.multinomial(n_draws, weight)
    draws = [
        generator.multivariate_normal(mean[one], covariance[one], counts[one], check_valid="ignore", method="eigh")
        for one in np.flatnonzero(counts)
    ]
    return np.concatenate(draws)
