"""Every model fitted without one, two or three publishers, once, for all targets: the base of all honest figures.

Nested leave-one-publisher-out needs the same fits again and again: the inner fold Q of the outer fold P trains
without {P, Q}, and so does the inner fold P of the outer fold Q. So fits are kept by the *set* of folds left out:
the empty set (final model), singles (outer folds), pairs (inner folds and grouped CV+), triples (the elastic net's
own choice inside an inner fold).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import clone
from threadpoolctl import threadpool_limits

from models_train.selection.design import ELASTIC_NET, WITH_MIX, WITH_PLACEBO, Design, Prepared
from models_train.selection.elastic_net import PAPER_GRID, Setting, fit_grid
from models_train.selection.predictors import SIMPLEST_FIRST, predictors

Left = frozenset[int]
_PAIR, _TRIPLE = 2, 3


@dataclass(frozen=True)
class TrainingFit:
    """All predictors on one training set.

    grids: elastic net -> (targets, settings, rows); others: name -> (targets, rows).
    """

    grids: dict[str, np.ndarray]
    largest_gap: float
    others: dict[str, np.ndarray]


def fit_training_set(
    design: Design, train: np.ndarray, with_others: bool, settings: Sequence[Setting] = PAPER_GRID
) -> TrainingFit:
    """Fit on the rows `train` (numbers of observed rows) and predict all rows of the design."""
    with threadpool_limits(1):  # 40 x 40 systems: threads inside one only wait for each other
        fitted_grids = {}
        for name, columns in design.columns.nets.items():
            names = tuple(design.table.names[column] for column in columns)
            prepared = Prepared(design.matrix[:, list(columns)], train, names)
            fitted_grids[name] = fit_grid(prepared, design.targets[train], settings)
        others: dict[str, np.ndarray] = {}
        if with_others:
            for name, estimator in predictors(design.columns).items():
                fitted = clone(estimator).fit(design.matrix[train], design.targets[train])
                others[name] = np.asarray(fitted.predict(design.matrix)).reshape(design.matrix.shape[0], -1).T
    largest_gap = max(float(grid.gaps.max()) for grid in fitted_grids.values())
    return TrainingFit({name: grid.predictions for name, grid in fitted_grids.items()}, largest_gap, others)


def fit_training_sets(
    design: Design,
    trains: Sequence[np.ndarray],
    with_others: Sequence[bool],
    n_jobs: int = 1,
    settings: Sequence[Setting] = PAPER_GRID,
) -> list[TrainingFit]:
    """`fit_training_set` for each set; the order of the answer does not depend on n_jobs."""
    return Parallel(n_jobs=n_jobs)(
        delayed(fit_training_set)(design, train, others, settings)
        for train, others in zip(trains, with_others, strict=True)
    )


@dataclass(frozen=True)
class LeaveOut:
    """Fits by the set of folds left out, and the nested choices made from them.

    Everything a method returns for a set `left` was computed without the targets of the folds in `left`.
    """

    design: Design
    settings: tuple[Setting, ...]
    fits: dict[Left, TrainingFit]

    @cached_property
    def largest_gap(self) -> float:
        """Largest relative duality gap of all elastic-net fits."""
        return max(fit.largest_gap for fit in self.fits.values())

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Predictors that were fitted, simplest first."""
        whole = self.fits[frozenset()]
        return tuple(name for name in SIMPLEST_FIRST if name in whole.grids or name in whole.others)

    def remaining(self, left: Left) -> list[int]:
        """Folds not in `left`."""
        return [fold for fold in range(len(self.design.fold_names)) if fold not in left]

    def setting_errors(self, left: Left, net: str = ELASTIC_NET) -> np.ndarray:
        """Inner error of each setting: mean over inner folds of the fold's mean absolute error; (targets, settings)."""
        errors = []
        for fold in self.remaining(left):
            members = np.flatnonzero(self.design.folds == fold)
            grid = self.fits[left | {fold}].grids[net][:, :, members]
            errors.append(np.abs(grid - self.design.targets[members].T[:, None, :]).mean(axis=2))
        return np.mean(errors, axis=0)

    def setting(self, left: Left, target: int, net: str = ELASTIC_NET) -> int:
        """Index of the grid setting with the smallest inner error; the first on a tie."""
        return int(self._settings(left, net)[target])

    def predict(self, name: str, left: Left, target: int) -> np.ndarray:
        """Predictions (rows,) of a predictor trained without `left` (at most two folds)."""
        fit = self.fits[left]
        if name in fit.grids:
            return fit.grids[name][target, self.setting(left, target, name)]
        return fit.others[name][target]

    def predictor_errors(self, left: Left, target: int) -> dict[str, float]:
        """Inner error of each predictor on the folds outside `left` (at most one), elastic nets nested once more."""
        errors: dict[str, list[float]] = {name: [] for name in self.names}
        for fold in self.remaining(left):
            members = np.flatnonzero(self.design.folds == fold)
            truth = self.design.targets[members, target]
            for name in self.names:
                predicted = self.predict(name, left | {fold}, target)[members]
                errors[name].append(float(np.abs(predicted - truth).mean()))
        return {name: float(np.mean(values)) for name, values in errors.items()}

    def best_predictor(self, left: Left, target: int) -> str:
        """The predictor that nested selection takes when the folds in `left` are unseen.

        Never the placebo; the net with the mix only where it beats the placebo on the inner folds too.
        """
        errors = self.predictor_errors(left, target)
        placebo = errors.pop(WITH_PLACEBO, None)
        if placebo is not None and errors[WITH_MIX] >= placebo:
            del errors[WITH_MIX]
        return min(errors, key=lambda name: (errors[name], SIMPLEST_FIRST.index(name)))

    def _settings(self, left: Left, net: str) -> np.ndarray:
        cache = self.__dict__.setdefault("_chosen_settings", {})
        if (left, net) not in cache:
            cache[left, net] = self.setting_errors(left, net).argmin(axis=1)
        return np.asarray(cache[left, net])


def leave_out(
    design: Design, n_jobs: int = 1, settings: Sequence[Setting] = PAPER_GRID, elastic_net_only: bool = False
) -> LeaveOut:
    """Fit every training set that nested leave-one-publisher-out with grouped CV+ intervals needs.

    elastic_net_only: neither other predictors nor triples, so nested predictions of the elastic net but no intervals.
    """
    folds = range(len(design.fold_names))
    deepest = _PAIR if elastic_net_only else _TRIPLE
    lefts = [frozenset(left) for size in range(deepest + 1) for left in combinations(folds, size)]
    trains = [np.flatnonzero(~np.isin(design.folds, list(left))) for left in lefts]
    with_others = [len(left) <= _PAIR and not elastic_net_only for left in lefts]
    fits = fit_training_sets(design, trains, with_others, n_jobs, settings)
    return LeaveOut(design, tuple(settings), dict(zip(lefts, fits, strict=True)))
