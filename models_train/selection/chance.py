"""What a predictor without skill reaches with a publisher left out: the mean over permuted results.

Models of ten publishers that were predicted by ten differently trained models are not one ranking: whoever is left out
with good results is predicted by a model of worse ones. So a predictor without skill finds less than k / n of the k
best, and how much less depends on how it ranks. Results are permuted over models, and every predictor that is fitted in
closed form goes through the same nested folds again; the averages do so with these members. The slow predictors (one
optimisation per target: `SLOW`), and `selected`, have the chance of the average without shrinkage: definitions,
Section 5, has the figures of a trial with all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from sklearn.base import clone

from models_train.selection.design import Design, small_systems
from models_train.selection.leave_out import Left
from models_train.selection.predictors import AVERAGE, MEAN, PLAIN_AVERAGE, SLOW, predictors
from models_train.selection.scores import COVERAGE_STEPS, coverages_at_k, regret_at_k

N_PERMUTATIONS = 1000
REGRET_STEPS = (1, 5)


@dataclass(frozen=True)
class Chance:
    """Means over permutations. coverage: k -> share; regret: k -> points; k up to the number of models."""

    coverage: dict[int, float]
    regret: dict[int, float]


def random_pick(observed: np.ndarray) -> Chance:
    """Coverage and regret of a random ranking of all models at once. observed: (n,)."""
    return chance_of(np.zeros((1, observed.size)), observed[None, :])


def chances(design: Design, target: int, seed: int = 0, n_permutations: int = N_PERMUTATIONS) -> dict[str, Chance]:
    """Chance by predictor, of those that are fitted in closed form and of the averages; others: `PLAIN_AVERAGE`'s."""
    generator = np.random.default_rng(seed)
    permuted = generator.permuted(np.tile(design.targets[:, target], (n_permutations, 1)), axis=1)
    learned = design.learned
    if learned is not None:
        learned = replace(learned, targets=np.repeat(learned.targets[:, [target]], n_permutations, axis=1))
    predicted = held_out(replace(design, targets=permuted.T, learned=learned))
    return {name: chance_of(values, permuted) for name, values in predicted.items()}


def chance_of(predicted: np.ndarray, observed: np.ndarray) -> Chance:
    """Means over rankings of coverage and regret. predicted, observed: (rankings, n)."""
    n = observed.shape[1]
    return Chance(
        {k: float(coverages_at_k(predicted, observed, k).mean()) for k in COVERAGE_STEPS if k <= n},
        {
            k: float(np.mean([regret_at_k(*pair, k) for pair in zip(predicted, observed, strict=True)]))
            for k in REGRET_STEPS
            if k <= n
        },
    )


Fits = dict[Left, dict[str, np.ndarray]]
"""By folds left out and predictor: predictions (observed models, targets)."""


def held_out(design: Design) -> dict[str, np.ndarray]:
    """Predictions (targets, observed models) of the quick predictors and of their averages, publisher left out."""
    folds = range(len(design.fold_names))
    with small_systems():
        own = _quick_fits(design, False)
        joined = None if design.learned is None else _quick_fits(design, True)
    names = (*own[frozenset({0})], PLAIN_AVERAGE, AVERAGE)
    found = {name: np.empty_like(design.targets) for name in names}
    for fold in folds:
        fits = _with_average(own if joined is None else _blended(design, own, joined, fold, folds), fold)
        rows, mine = design.folds == fold, fits[frozenset({fold})]
        factor = _shrinkage(design, fits, fold, folds)
        for name, values in mine.items():
            found[name][rows] = values[rows]
        found[AVERAGE][rows] = (mine[MEAN] + factor * (mine[PLAIN_AVERAGE] - mine[MEAN]))[rows]
    return {name: values.T for name, values in found.items()}


def _quick_fits(design: Design, with_learned: bool) -> Fits:
    """The predictors that are fitted in closed form, with one and with two folds left out."""
    quick = {name: estimator for name, estimator in predictors(design.columns).items() if name not in SLOW}
    fits: Fits = {}
    for left in [frozenset(left) for size in (1, 2) for left in combinations(range(len(design.fold_names)), size)]:
        inside = design.training_rows(left, with_learned)
        matrix = design.matrix_for(inside)
        targets, observed = design.targets_for(inside, matrix), matrix[: design.n_observed]
        fits[left] = {
            name: clone(estimator).fit(matrix[inside], targets).predict(observed).reshape(design.n_observed, -1)
            for name, estimator in quick.items()
        }
    return fits


def _with_average(fits: Fits, fold: int) -> Fits:
    """The fits without a fold, with the average of their members."""
    return {
        left: {**mine, PLAIN_AVERAGE: np.mean([values for name, values in mine.items() if name != MEAN], axis=0)}
        for left, mine in fits.items()
        if fold in left
    }


def _blended(design: Design, own: Fits, joined: Fits, fold: int, folds: Sequence[int]) -> Fits:
    """The fits without a fold, each with the share of `LeaveOut.share` for all targets at once."""
    inner = [(design.folds == other, frozenset({fold, other})) for other in folds if other != fold]
    shares = {}
    for name in own[frozenset({fold})]:
        along, length = np.zeros(design.targets.shape[1]), np.zeros(design.targets.shape[1])
        for rows, left in inner:
            step = (joined[left][name] - own[left][name])[rows]
            along += (step * (design.targets - own[left][name])[rows]).sum(axis=0)
            length += np.square(step).sum(axis=0)
        shares[name] = np.clip(np.divide(along, length, out=np.zeros_like(along), where=length > 0), 0.0, 1.0)
    return {
        left: {name: values + shares[name] * (joined[left][name] - values) for name, values in mine.items()}
        for left, mine in own.items()
        if fold in left
    }


def _shrinkage(design: Design, fits: Fits, fold: int, folds: Sequence[int]) -> np.ndarray:
    """The factor of `LeaveOut.shrinkage` for all targets at once, (targets,)."""
    along, length = np.zeros(design.targets.shape[1]), np.zeros(design.targets.shape[1])
    for inner in folds:
        if inner != fold:
            rows, fit = design.folds == inner, fits[frozenset({fold, inner})]
            deviation = (fit[PLAIN_AVERAGE] - fit[MEAN])[rows]
            along += (deviation * (design.targets[rows] - fit[MEAN][rows])).sum(axis=0)
            length += np.square(deviation).sum(axis=0)
    return np.clip(np.divide(along, length, out=np.zeros_like(along), where=length > 0), 0.0, 1.0)
