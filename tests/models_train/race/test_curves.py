"""The forecast against a plain computation of the same mixture, and its calibration on curves of its own kind."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from models_train.race.curves import Arms, Forecast, Points, Priors, forecast, prior_settings

NOBODY = np.array([], dtype=np.intp)
FULL = 4.0


def no_prior(n_bases: int) -> Priors:
    return Priors(np.eye(n_bases), NOBODY, np.array([]), np.array([]))


def plain_kernel(
    number: int, one: tuple[int, int, float], other: tuple[int, int, float], likeness: np.ndarray
) -> float:
    """Covariance of two accuracies, written down as the definitions have it."""
    s = prior_settings()
    (m, r, x), (n, q, z) = one, other
    decay = s.decay[number]
    v, w = ((decay**at - 1) / np.log(decay) for at in (x, z))
    k = s.level[number] ** 2 + s.start[number] ** 2 * s.fade[number] ** (x + z)
    k += s.walk[number] ** 2 * min(v, w) + s.trend[number] ** 2 * v * w
    c = (1 - s.likeness[number]) * (m == n) + s.likeness[number] * likeness[m, n]
    walk = s.shared[number] ** 2 * min(v, w)
    total = 30**2 + 10**2 * v * w + walk + c * k
    if r == q:
        total += 10**2 + (10 / 3) ** 2 * v * w + walk
    if (m, r) == (n, q):
        total += s.apart[number] ** 2 * k + (s.noise[number] ** 2 if x == z else 0)
    return float(total)


def test_forecast_is_the_weighted_mixture_of_plain_regressions() -> None:
    """Means, covariances and weights by inverses and SciPy's density of the looks."""
    seen = [(0, 0, 0.0), (0, 0, 1.0), (0, 1, 0.0), (1, 0, 0.0), (1, 0, 1.0), (1, 0, 2.0), (2, 1, 0.0)]
    values = np.array([55.0, 60.0, 52.0, 57.0, 66.0, 70.0, 50.0])
    ends = [(0, 0, FULL), (0, 1, FULL), (1, 0, FULL), (2, 1, FULL)]
    features = np.array([1.0, 0.2, -1.2])
    likeness, items = np.outer(features, features), 0.3 * np.eye(7) + 0.1
    priors = Priors(likeness, np.array([2]), np.array([80.0]), np.array([2.0]))
    base, rate, doublings = (np.array(column) for column in zip(*seen, strict=True))
    arms = Arms(*(np.array(column) for column in list(zip(*ends, strict=True))[:2]))
    found = forecast(Points(base, rate, doublings, values, items), arms, FULL, priors, 4000, 0)
    everything, level = [*seen, ends[2]], values.mean()
    error = np.zeros((8, 8))
    error[:7, :7], error[7, 7] = items, 2.0**2 + 10.0**2
    error += 1e-4 * np.eye(8)
    observed = np.append(values, 80.0) - level
    logs, means, variances = [], [], []
    for number in range(len(prior_settings().level)):
        inside, across, outside = (
            np.array([[plain_kernel(number, one, other, likeness) for other in right] for one in left])
            for left, right in ((everything, everything), (everything, ends), (ends, ends))
        )
        gain = np.linalg.solve(inside + error, across)
        logs.append(stats.multivariate_normal(cov=inside + error).logpdf(observed))
        means.append(level + gain.T @ observed)
        variances.append(outside - gain.T @ across)
    weights = np.exp(np.array(logs) - max(logs))
    weights /= weights.sum()
    np.testing.assert_allclose(found.expected, weights @ np.array(means), rtol=1e-4)
    spread = np.einsum("s,sij->ij", weights, np.array(variances))
    np.testing.assert_allclose(np.einsum("s,sij->ij", found.weight, found.covariance), spread, rtol=2e-3, atol=1e-3)
    np.testing.assert_allclose(found.draws.mean(axis=0), found.expected, atol=0.5)


def test_quantiles_are_those_of_the_draws() -> None:
    points = Points(np.array([0, 1]), np.array([0, 0]), np.zeros(2), np.array([60.0, 64.0]), np.zeros((2, 2)))
    found = forecast(points, Arms(np.array([0, 1]), np.array([0, 0])), FULL, no_prior(2), 40_000, 0)
    leads = found.draws[:, 1] - found.draws[:, 0]
    spread = leads.std()
    for share in (0.05, 0.5, 0.9):
        assert found.quantile(1, 0, share) == pytest.approx(np.quantile(leads, share), abs=0.06 * spread)
    assert found.chance_above(1, 0, 1.0) == pytest.approx((leads > 1.0).mean(), abs=0.01)


def test_an_arm_at_the_full_data_is_forecast_as_it_was_measured() -> None:
    points = Points(
        np.array([0, 0, 1]),
        np.zeros(3, int),
        np.array([0.0, FULL, 0.0]),
        np.array([50.0, 71.5, 52.0]),
        np.zeros((3, 3)),
    )
    found = forecast(points, Arms(np.array([0, 1]), np.zeros(2, int)), FULL, no_prior(2), 1000, 0)
    assert found.expected[0] == pytest.approx(71.5, abs=0.01)
    assert found.draws[:, 0].std() < 0.05 < 1 < found.draws[:, 1].std()


def test_a_prior_counts_as_much_as_it_is_sure() -> None:
    points = Points(np.array([0, 1]), np.zeros(2, int), np.zeros(2), np.array([60.0, 60.0]), np.zeros((2, 2)))
    arms = Arms(np.array([0, 1]), np.zeros(2, int))

    def lead(sd: float) -> float:
        priors = Priors(np.eye(2), np.array([0, 1]), np.array([70.0, 76.0]), np.full(2, sd))
        expected = forecast(points, arms, FULL, priors, 100, 0).expected
        return float(expected[1] - expected[0])

    assert lead(0.1) == pytest.approx(6.0, abs=0.3)
    assert 0.2 < lead(3.0) < lead(1.0) < lead(0.1)


def test_intervals_hold_the_truth_as_often_as_stated() -> None:
    """Curves drawn from the process itself, with settings drawn from their prior: 80 % intervals of leads."""
    dice = np.random.default_rng(4)
    held = [_held(dice) for _ in range(40)]
    assert stats.binomtest(sum(held), len(held), 0.8).pvalue > 0.02


def _held(dice: np.random.Generator) -> bool:
    """Whether the interval of the lead of the first over the second of four bases holds it, after three rungs."""
    at = [(base, 0, float(x)) for base in range(4) for x in (0, 1, 2, FULL)]
    number = int(dice.integers(len(prior_settings().level)))
    kernel = np.array([[plain_kernel(number, one, other, np.eye(4)) for other in at] for one in at])
    values = 60 + dice.multivariate_normal(np.zeros(16), kernel, method="eigh")
    seen = np.array([place for place, one in enumerate(at) if one[2] < FULL])
    base, rate, doublings = (np.array(column)[seen] for column in zip(*at, strict=True))
    points = Points(base, rate, doublings, values[seen], np.zeros((12, 12)))
    found: Forecast = forecast(points, Arms(np.arange(4), np.zeros(4, int)), FULL, no_prior(4), 100, 0)
    return bool(found.quantile(0, 1, 0.1) <= values[3] - values[7] <= found.quantile(0, 1, 0.9))
