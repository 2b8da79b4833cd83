"""Every model fitted without one, two or three publishers, once, for all targets: the base of all honest figures.

Nested leave-one-publisher-out needs the same fits again and again: the inner fold Q of the outer fold P trains
without {P, Q}, and so does the inner fold P of the outer fold Q. So fits are kept by the *set* of folds left out:
the empty set (final model), singles (outer folds), pairs (inner folds and grouped CV+), triples (every choice inside
an inner fold).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import clone

from models_train.selection.design import Design, Prepared, small_systems
from models_train.selection.elastic_net import HONEST_GRID, Setting, fit_grid
from models_train.selection.predictors import (
    AVERAGE,
    ELASTIC_NET,
    MEAN,
    PLAIN_AVERAGE,
    SELECTED,
    SIMPLEST_FIRST,
    features_read,
    predictors,
)

Left = frozenset[int]
_PAIR, _TRIPLE = 2, 3


@dataclass(frozen=True)
class TrainingFit:
    """All predictors on one training set.

    grid: of the elastic net, (targets, settings, rows); others: name -> (targets, rows).
    """

    grid: np.ndarray
    largest_gap: float
    others: dict[str, np.ndarray]


def fit_training_set(
    design: Design, train: np.ndarray, elastic_net_only: bool = False, settings: Sequence[Setting] = HONEST_GRID
) -> TrainingFit:
    """Fit on the rows `train` (numbers of rows with a result) and predict all rows of the design."""
    columns = list(design.columns.elastic_net)
    names = tuple(design.table.names[column] for column in columns)
    matrix = design.matrix_for(train)
    others: dict[str, np.ndarray] = {}
    with small_systems():
        targets = design.targets_for(train, matrix)
        net = fit_grid(Prepared(matrix[:, columns], train, names), targets, settings)
        for name, estimator in {} if elastic_net_only else predictors(design.columns).items():
            fitted = clone(estimator).fit(matrix[train], targets)
            others[name] = np.asarray(fitted.predict(matrix)).reshape(matrix.shape[0], -1).T
    return TrainingFit(net.predictions, float(net.gaps.max()), others)


def fit_training_sets(
    design: Design,
    trains: Sequence[np.ndarray],
    n_jobs: int = 1,
    settings: Sequence[Setting] = HONEST_GRID,
    elastic_net_only: bool = False,
) -> list[TrainingFit]:
    """`fit_training_set` for each set; the order of the answer does not depend on n_jobs."""
    return Parallel(n_jobs=n_jobs)(
        delayed(fit_training_set)(design, train, elastic_net_only, settings) for train in trains
    )


@dataclass(frozen=True)
class LeaveOut:
    """Fits by the set of folds left out, and the nested choices made from them.

    Everything a method returns for a set `left` (at most two folds) was computed without the targets of the folds in
    `left`. One rule holds at every depth, so that what is calibrated is what answers: the setting of the elastic net,
    the best predictor and the shrinkage of the average for `left` all come from the same inner folds.

    joined: the same fits with the rows of other studies, too; empty without any. A prediction is then own + share
    (joined - own), with the share from 0 to 1 that fits the held-out results of the inner folds best, so that a study
    in which other things count is not learned from.
    """

    design: Design
    settings: tuple[Setting, ...]
    fits: dict[Left, TrainingFit]
    joined: dict[Left, TrainingFit] = field(default_factory=dict)
    _settings: dict[tuple[Left, bool], np.ndarray] = field(default_factory=dict)
    _shares: dict[tuple[str, Left, int], float] = field(default_factory=dict)
    _shrinkages: dict[tuple[Left, int, tuple[str, ...]], float] = field(default_factory=dict)

    @cached_property
    def largest_gap(self) -> float:
        """Largest relative duality gap of all elastic-net fits."""
        return max(fit.largest_gap for fits in (self.fits, self.joined) for fit in fits.values())

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Predictors that were fitted, simplest first."""
        return tuple(name for name in SIMPLEST_FIRST if name == ELASTIC_NET or name in self.fits[frozenset()].others)

    @cached_property
    def members(self) -> tuple[str, ...]:
        """Predictors that the average is made of: all but the mean."""
        return tuple(name for name in self.names if name != MEAN)

    def readable(self, row: int, min_share: float) -> tuple[str, ...]:
        """Members of the average that a row of the design has the features for: its size, and a share of them all."""
        known, columns = np.isfinite(self.design.matrix[row]), self.design.columns
        read = features_read(columns)

        def has_what_it_needs(name: str) -> bool:
            sizes = {columns.size, columns.log_size}.intersection(read[name])
            return bool(known[list(read[name])].mean() >= min_share and all(known[size] for size in sizes))

        return tuple(name for name in self.members if has_what_it_needs(name))

    def remaining(self, left: Left) -> list[int]:
        """Folds not in `left`."""
        return [fold for fold in range(len(self.design.fold_names)) if fold not in left]

    def setting_errors(self, left: Left, joined: bool = False) -> np.ndarray:
        """Inner error of each setting: mean over inner folds of the fold's mean absolute error; (targets, settings)."""
        errors = []
        for fold in self.remaining(left):
            members = np.flatnonzero(self.design.folds == fold)
            grid = (self.joined if joined else self.fits)[left | {fold}].grid[:, :, members]
            errors.append(np.abs(grid - self.design.targets[members].T[:, None, :]).mean(axis=2))
        return np.mean(errors, axis=0)

    def setting(self, left: Left, target: int, joined: bool = False) -> int:
        """Index of the grid setting with the smallest inner error; the first on a tie."""
        if (left, joined) not in self._settings:
            self._settings[left, joined] = self.setting_errors(left, joined).argmin(axis=1)
        return int(self._settings[left, joined][target])

    def predict(self, name: str, left: Left, target: int, members: tuple[str, ...] = ()) -> np.ndarray:
        """Predictions (rows,) of a predictor trained without `left`. members: of an average, if not all."""
        if name == SELECTED:
            name = self.best_predictor(left, target)
        if name not in (AVERAGE, PLAIN_AVERAGE):
            return self._fitted(name, left, target, left)
        average = self._average(members or self.members, left, target, left)
        if name == PLAIN_AVERAGE:
            return average
        middle = self._fitted(MEAN, left, target, left)
        return middle + self.shrinkage(left, target, members or self.members) * (average - middle)

    def shrinkage(self, left: Left, target: int, members: tuple[str, ...]) -> float:
        """Factor of the average's deviation from the mean that fits the inner folds best (least squares), 0 to 1."""
        key = (left, target, members)
        if key not in self._shrinkages:

            def apart(without: Left) -> tuple[np.ndarray, np.ndarray]:
                middle = self._fitted(MEAN, without, target, left)
                return middle, self._average(members, without, target, left) - middle

            self._shrinkages[key] = self._best_factor(left, target, apart)
        return self._shrinkages[key]

    def predictor_errors(self, left: Left, target: int) -> dict[str, float]:
        """Inner error of each predictor: mean over the folds outside `left` of the fold's mean absolute error."""
        errors: dict[str, list[float]] = {name: [] for name in self.names}
        for fold in self.remaining(left):
            rows = np.flatnonzero(self.design.folds == fold)
            truth = self.design.targets[rows, target]
            for name in self.names:
                predicted = self._fitted(name, left | {fold}, target, left)[rows]
                errors[name].append(float(np.abs(predicted - truth).mean()))
        return {name: float(np.mean(values)) for name, values in errors.items()}

    def best_predictor(self, left: Left, target: int) -> str:
        """The predictor that nested selection takes when the folds in `left` are unseen."""
        errors = self.predictor_errors(left, target)
        return min(errors, key=lambda name: (errors[name], SIMPLEST_FIRST.index(name)))

    def _fitted(self, name: str, left: Left, target: int, chosen_without: Left) -> np.ndarray:
        """Predictions of one predictor, with the share that other studies have when `chosen_without` is unseen."""
        own = self._of(self.fits, name, left, target, chosen_without)
        if not self.joined:
            return own
        beside = self._of(self.joined, name, left, target, chosen_without)
        return own + self.share(name, chosen_without, target) * (beside - own)

    def share(self, name: str, left: Left, target: int) -> float:
        """Share of a predictor's fit with other studies, by least squares on the inner folds, 0 to 1."""
        key = (name, left, target)
        if key not in self._shares:

            def apart(without: Left) -> tuple[np.ndarray, np.ndarray]:
                own = self._of(self.fits, name, without, target, left)
                return own, self._of(self.joined, name, without, target, left) - own

            self._shares[key] = self._best_factor(left, target, apart)
        return self._shares[key]

    def _best_factor(self, left: Left, target: int, apart: Callable[[Left], tuple[np.ndarray, np.ndarray]]) -> float:
        """The factor from 0 to 1 with which start + factor x step fits the held-out results of the inner folds best.

        apart: from the folds left out to start and step, (rows,) each. 0 where no step goes anywhere.
        """
        along, length = 0.0, 0.0
        for fold in self.remaining(left):
            rows = np.flatnonzero(self.design.folds == fold)
            start, step = (values[rows] for values in apart(left | {fold}))
            along += float(step @ (self.design.targets[rows, target] - start))
            length += float(step @ step)
        return float(np.clip(along / length, 0.0, 1.0)) if length > 0 else 0.0

    def _of(
        self, fits: dict[Left, TrainingFit], name: str, left: Left, target: int, chosen_without: Left
    ) -> np.ndarray:
        """Predictions of one fit; the elastic net at the setting that is chosen without the folds `chosen_without`."""
        if name == ELASTIC_NET:
            return fits[left].grid[target, self.setting(chosen_without, target, fits is self.joined)]
        return fits[left].others[name][target]

    def _average(self, members: tuple[str, ...], left: Left, target: int, chosen_without: Left) -> np.ndarray:
        return np.mean([self._fitted(name, left, target, chosen_without) for name in members], axis=0)


def leave_out(
    design: Design,
    n_jobs: int = 1,
    settings: Sequence[Setting] = HONEST_GRID,
    elastic_net_only: bool = False,
    deepest: int = _TRIPLE,
) -> LeaveOut:
    """Fit every training set that nested leave-one-publisher-out with grouped CV+ intervals needs.

    deepest: most folds left out at once; with two there are nested predictions and forecasts with their intervals, but
    no intervals of nested predictions. elastic_net_only: no other predictors, and no triples.
    """
    folds = range(len(design.fold_names))
    deepest = _PAIR if elastic_net_only else deepest
    lefts = [frozenset(left) for size in range(deepest + 1) for left in combinations(folds, size)]

    def fitted(with_learned: bool) -> dict[Left, TrainingFit]:
        trains = [design.training_rows(left, with_learned) for left in lefts]
        return dict(zip(lefts, fit_training_sets(design, trains, n_jobs, settings, elastic_net_only), strict=True))

    return LeaveOut(design, tuple(settings), fitted(False), {} if design.learned is None else fitted(True))
