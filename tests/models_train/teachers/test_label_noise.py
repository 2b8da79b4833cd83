"""Share of wrong labels from margins, against SciPy's maximum likelihood and simulations of known noise, with
scikit-learn's logistic regression as the cross-fitted reward model."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold, cross_val_predict

from models_train.selection.item_metrics import Floats
from models_train.teachers.label_noise import NOTHING_KNOWN, data_noise, fit_noise
from models_train.teachers.resampling import FEW_PROMPTS

N, WIDTH = 400, 5
WEIGHTS = np.array([2.0, -1.0, 1.0, 0.5, 0.0])
RESAMPLES = 100


def made(dice: np.random.Generator, noise: float, n: int = N) -> tuple[Floats, NDArray[np.bool_]]:
    """Differences of the features of two responses, and whether the label says that the first is better."""
    features = dice.normal(size=(n, WIDTH))
    return features, (features @ WEIGHTS > 0) ^ (dice.random(n) < noise)


def cross_fitted(features: Floats, labels: NDArray[np.bool_]) -> Floats:
    """Margins of the labels by logistic regressions without intercept on the other four folds."""
    model = LogisticRegression(fit_intercept=False, C=1.0)
    scores = cross_val_predict(model, features, labels, cv=KFold(5), method="decision_function")
    return np.where(labels, scores, -scores)


def estimate(margins: Floats, resamples: int = RESAMPLES) -> dict[str, float]:
    frame = pl.DataFrame(
        {
            "study_id": "s",
            "data_id": "d",
            "prompt_id": [str(number) for number in range(len(margins))],
            "cross_fitted_margin": margins,
        }
    )
    return data_noise(frame, resamples).row(0, named=True)


@pytest.mark.parametrize("seed", range(4))
def test_the_fit_is_the_maximum_likelihood(seed: int) -> None:
    dice = np.random.default_rng(seed)
    margins = dice.normal(1, 2, 300) * dice.choice([0.3, 3.0])

    def loss(parameters: Floats) -> float:
        noise = 0.5 * expit(parameters[0])
        return -float(np.log(noise + (1 - 2 * noise) * expit(np.exp(parameters[1]) * margins)).sum())

    exact = min((minimize(loss, [start, 0.0], method="Nelder-Mead") for start in (-3, 0)), key=lambda one: one.fun)
    found = fit_noise(margins)
    assert found.noise[0] == pytest.approx(0.5 * expit(exact.x[0]), abs=0.006)
    assert -np.log(found.p_labels(margins)).sum() == pytest.approx(exact.fun, abs=0.02)
    weighted = fit_noise(margins, np.stack([np.ones(300), np.tile([2.0, 0.0], 150)]))
    assert weighted.noise[0] == pytest.approx(found.noise[0], abs=1e-9)
    assert weighted.noise[1] == pytest.approx(fit_noise(np.repeat(margins[::2], 2)).noise[0], abs=0.02)


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.25])
def test_the_interval_covers_the_noise_of_simulations(noise: float) -> None:
    dice = np.random.default_rng(int(100 * noise))
    found = [estimate(cross_fitted(*made(dice, noise))) for _ in range(30)]
    covered = [one["noise_low"] <= noise <= one["noise_high"] for one in found]
    assert sum(covered) >= 26, "an exact interval covers 28.5 of 30, and fewer than 26 once in 60 times"
    assert np.mean([one["noise"] for one in found]) == pytest.approx(noise, abs=0.025)
    upper = np.mean([one["expected_noise"] for one in found])
    assert upper > noise, "what the reward model does not know counts"


def test_ties_leave_the_estimate_where_it_is() -> None:
    dice = np.random.default_rng(3)
    margins = cross_fitted(*made(dice, 0.1))
    ties = dice.normal(scale=1e-3, size=N)
    without, among = estimate(margins), estimate(np.append(margins, ties))
    assert among["noise"] == pytest.approx(without["noise"], abs=0.01)
    assert among["share_lost"] > without["share_lost"] + 0.1, "half of the ties are lost"


def test_noise_of_hard_pairs_alone_is_not_told_from_ignorance() -> None:
    """Logistic noise: labels of about equally good responses are often wrong, of unequal ones never."""
    dice = np.random.default_rng(4)
    features = dice.normal(size=(1000, WIDTH))
    gaps = features @ WEIGHTS
    labels = gaps + 1.5 * dice.logistic(size=1000) > 0
    wrong = float(np.mean(labels != (gaps > 0)))
    found = estimate(cross_fitted(features, labels))
    assert wrong > 0.2
    assert found["noise_low"] == 0, "a lower bound, and no noise is among the possible"
    assert found["noise"] < wrong < found["expected_noise"]


def test_what_cannot_be_known_is_no_number() -> None:
    dice = np.random.default_rng(5)
    unknown = estimate(dice.normal(size=300))
    assert unknown["status"] == NOTHING_KNOWN and unknown["noise"] is None and unknown["share_lost"] is not None
    few = estimate(dice.normal(1, 1, size=5))
    assert few["status"] == FEW_PROMPTS and few["noise"] is not None and few["noise_low"] is None
    assert data_noise(pl.DataFrame(schema={"study_id": pl.String, "data_id": pl.String}), 10).height == 0
    with pytest.raises(ValueError, match="no margins"):
        fit_noise([])


def test_pairs_of_a_prompt_are_resampled_together() -> None:
    dice = np.random.default_rng(6)
    n = 200
    margins = cross_fitted(*made(dice, 0.2, n))
    frame = pl.DataFrame({"study_id": "s", "data_id": "d", "prompt_id": np.arange(n), "cross_fitted_margin": margins})
    fourfold = pl.concat([frame] * 4)
    one, other = (data_noise(each, RESAMPLES).row(0, named=True) for each in (frame, fourfold))
    assert (other["n_pairs"], other["n_prompts"]) == (4 * n, n)
    names = ("noise", "noise_low", "noise_high", "share_lost_low", "share_lost_high")
    assert [other[name] for name in names] == pytest.approx([one[name] for name in names], abs=1e-6)
