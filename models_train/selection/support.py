"""How far a model lies from the trained ones, and from which distance on a prediction is not made.

Distance: Mahalanobis distance from the training models over the features that the average reads (size once, as
log10), standardised and imputed as for a fit, covariance shrunk by Ledoit and Wolf (2004), divided by the root of the
number of features. Every trained model has such a distance from the models of other publishers, and an error with its
publisher left out. The limit is the split of a regression stump of that error on that distance, both sides with at
least four models; where the far side has no larger error, it is the largest distance seen. It is never smaller than
the distance of a training model from them all: between these a prediction is no extrapolation. Errors are those of the
average, in units of each target's mean, averaged over the targets with the same models: one alone is too noisy.
"""

from __future__ import annotations

import numpy as np
from sklearn.covariance import LedoitWolf
from sklearn.tree import DecisionTreeRegressor

from models_train.selection.design import standardise_and_impute
from models_train.selection.features import LOG_SIZE, SIZE
from models_train.selection.leave_out import LeaveOut, Left
from models_train.selection.predictors import PLAIN_AVERAGE, features_read

MIN_MODELS_PER_SIDE = 4


class Support:
    """Distances and limits of one design for one choice of members; each is computed once."""

    def __init__(self, fits: LeaveOut, members: tuple[str, ...]) -> None:
        read = features_read(fits.design.columns)
        self.members = members
        self.columns = tuple(sorted({c for name in members for c in read[name]} - {fits.design.columns.size}))
        self._fits = fits
        self._distances: dict[Left, np.ndarray] = {}
        self._limits: dict[Left, float] = {}

    def distances(self, left: Left) -> np.ndarray:
        """Distance of each row of the design, (rows,), from the observed models outside `left`."""
        if left not in self._distances:
            design = self._fits.design
            train = np.flatnonzero(~np.isin(design.folds, list(left)))
            values = design.matrix_for(train)[:, list(self.columns)]
            self._distances[left] = distances_from(values[train], values)
        return self._distances[left]

    def limit(self, left: Left) -> float:
        """Distance beyond which there is no prediction, from the models outside `left` alone."""
        if left not in self._limits:
            self._limits[left] = self._limit(left)
        return self._limits[left]

    def reason_against(self, row: int) -> str:
        """Why there is no prediction for a row of the design by the models of all publishers; empty if there is one."""
        nothing: Left = frozenset()
        distance, limit, design = self.distances(nothing)[row], self.limit(nothing), self._fits.design
        if distance <= limit:
            return ""
        values = design.matrix[: design.n_observed, list(self.columns)]
        mine = design.matrix[row, list(self.columns)]
        unusual = np.nan_to_num(np.abs(mine - np.nanmean(values, axis=0)) / np.nanstd(values, axis=0))
        most = int(unusual.argmax())
        name = design.table.names[self.columns[most]]
        seen = np.array([mine[most], np.nanmin(values[:, most]), np.nanmax(values[:, most])])
        if name == LOG_SIZE:
            name, seen = SIZE, 10**seen
        value, low, high = seen
        return (
            f"too far from the trained models (distance {distance:.1f}; beyond {limit:.1f} errors were larger or are "
            f"not known), most of all by {name} {value:.3g} (seen: {low:.3g} to {high:.3g})"
        )

    def _limit(self, left: Left) -> float:
        fits, design = self._fits, self._fits.design
        far, missed = [], []
        for fold in fits.remaining(left):
            rows = np.flatnonzero(design.folds == fold)
            far.append(self.distances(left | {fold})[rows])
            predicted = [
                fits.predict(PLAIN_AVERAGE, left | {fold}, target, self.members)[rows]
                for target in range(design.targets.shape[1])
            ]
            missed.append(np.abs(np.array(predicted).T - design.targets[rows]))
        distances, errors = np.concatenate(far), np.concatenate(missed)
        scales = errors.mean(axis=0)
        limit = error_limit(distances, (errors / np.where(scales > 0, scales, 1.0)).mean(axis=1))
        trained = np.flatnonzero(~np.isin(design.folds, list(left)))
        return max(limit, float(self.distances(left)[trained].max()))


def distances_from(train: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Distance of each row of values (rows, features; NaN where missing) from the rows `train`, without a unit."""
    with np.errstate(invalid="ignore", divide="ignore"):
        preparation = standardise_and_impute().fit(train)
        covariance = LedoitWolf().fit(preparation.transform(train))
        return np.sqrt(covariance.mahalanobis(preparation.transform(values)) / train.shape[1])


def error_limit(distances: np.ndarray, errors: np.ndarray) -> float:
    """The split of a regression stump, or the largest distance where errors beyond it are no larger; (models,) each."""
    stump = DecisionTreeRegressor(max_depth=1, min_samples_leaf=MIN_MODELS_PER_SIDE).fit(distances[:, None], errors)
    limit = float(stump.tree_.threshold[0]) if stump.tree_.node_count > 1 else np.inf
    beyond = distances > limit
    larger = beyond.any() and errors[beyond].mean() > errors[~beyond].mean()
    return limit if larger else float(distances.max())
