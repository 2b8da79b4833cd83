"""Predictions of the models with a reward model under three protocols, and forecasts for those without one.

The protocols (definitions, Section 5) say how good the performance model is:

`paper_in_sample`: setting by 10-fold cross-validation, refit on all, predict the same models (paper, Section 4.2).
`paper_10_fold`: the predictions of those ten folds at the chosen setting; publishers are mixed and the setting has
seen every fold. `leave_publisher_out`: nested; a publisher's models are predicted by fits without that publisher.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import KFold

from models_train.selection.design import ELASTIC_NET, Design
from models_train.selection.elastic_net import PAPER_GRID, Setting
from models_train.selection.features import SIZE, outside_range
from models_train.selection.leave_out import LeaveOut, Left, TrainingFit, fit_training_sets
from models_train.selection.predictors import SELECTED
from models_train.selection.scores import jackknife_plus, residual_interval

IN_SAMPLE, TEN_FOLD, LEAVE_PUBLISHER_OUT = "paper_in_sample", "paper_10_fold", "leave_publisher_out"
N_FOLDS = 10
NOTHING: Left = frozenset()
MIN_SHARE_OF_FEATURES = 0.75
"""A candidate with values for fewer of the model's features gets no prediction."""


@dataclass(frozen=True)
class Predicted:
    """Predictions of the observed models by one predictor under one protocol; arrays are (observed models,).

    low, high: 90 % interval. fold: the publisher, or number of the fold, left out; None in-sample.
    in_hull: no feature that the predictor rests on outside the range of the training models.
    """

    protocol: str
    predictor: str
    values: np.ndarray
    low: np.ndarray
    high: np.ndarray
    fold: tuple[str | None, ...]
    in_hull: np.ndarray


@dataclass(frozen=True)
class Forecast:
    """One candidate. predicted, low, high: None where `abstention` says why (low, high also where unbounded).

    draws: (2n,) equally likely outcomes behind the CV+ interval, in percent points; empty for an abstention.
    """

    model_id: str
    predictor: str
    predicted: float | None
    low: float | None
    high: float | None
    abstention: str
    draws: np.ndarray


@dataclass(frozen=True)
class TenFold:
    """The paper's ten folds. folds: (observed models,); fits: one per fold."""

    folds: np.ndarray
    fits: tuple[TrainingFit, ...]

    def grid(self, target: int, net: str = ELASTIC_NET) -> np.ndarray:
        """Out-of-fold predictions of every setting, (settings, observed models)."""
        everything = np.stack([fit.grids[net][target] for fit in self.fits])
        return everything[self.folds, :, np.arange(self.folds.size)].T

    def other(self, name: str, target: int) -> np.ndarray:
        """Out-of-fold predictions (observed models,) of a predictor that is not the elastic net."""
        everything = np.stack([fit.others[name][target] for fit in self.fits])
        return everything[self.folds, np.arange(self.folds.size)]

    def setting(self, targets: np.ndarray, target: int, net: str = ELASTIC_NET) -> int:
        """The setting with the smallest mean over folds of the fold's mean absolute error."""
        errors = np.abs(self.grid(target, net) - targets[:, target])
        by_fold = [errors[:, self.folds == fold].mean(axis=1) for fold in range(len(self.fits))]
        return int(np.mean(by_fold, axis=0).argmin())


def ten_fold(design: Design, seed: int = 0, n_jobs: int = 1, settings: Sequence[Setting] = PAPER_GRID) -> TenFold:
    """Fit all predictors on ten random folds (fewer if there are fewer models)."""
    splitter = KFold(min(N_FOLDS, design.n_observed), shuffle=True, random_state=seed)
    splits = list(splitter.split(np.arange(design.n_observed)))
    folds = np.empty(design.n_observed, dtype=int)
    for number, (_, test) in enumerate(splits):
        folds[test] = number
    fits = fit_training_sets(design, [train for train, _ in splits], [True] * len(splits), n_jobs, settings)
    return TenFold(folds, tuple(fits))


def in_sample_predictions(fits: LeaveOut, folds: TenFold, target: int) -> list[Predicted]:
    """Every predictor refitted on all models, predicting these; intervals from in-sample residuals, so too narrow."""
    design = fits.design
    found = []
    for name in fits.names:
        whole = fits.fits[NOTHING]
        if name in whole.grids:
            values = whole.grids[name][target, folds.setting(design.targets, target, name)]
        else:
            values = whole.others[name][target]
        values = values[: design.n_observed]
        low, high = residual_interval(values, np.abs(values - design.targets[:, target]))
        everyone = np.ones(design.n_observed, dtype=bool)
        found.append(Predicted(IN_SAMPLE, name, values, low, high, (None,) * design.n_observed, everyone))
    return found


def ten_fold_predictions(fits: LeaveOut, folds: TenFold, target: int) -> list[Predicted]:
    """Out-of-fold predictions of the ten folds; a fold's interval comes from the residuals of the other nine."""
    design = fits.design
    found = []
    for name in fits.names:
        if name in design.columns.nets:
            values = folds.grid(target, name)[folds.setting(design.targets, target, name)]
        else:
            values = folds.other(name, target)
        residuals = np.abs(values - design.targets[:, target])
        low, high = np.empty_like(values), np.empty_like(values)
        for fold in np.unique(folds.folds):
            members = folds.folds == fold
            low[members], high[members] = residual_interval(values[members], residuals[~members])
        labels = tuple(str(fold + 1) for fold in folds.folds)
        in_hull = _in_hull(design, folds.folds, name)
        found.append(Predicted(TEN_FOLD, name, values, low, high, labels, in_hull))
    return found


def leave_publisher_out_predictions(fits: LeaveOut, target: int) -> list[Predicted]:
    """Nested out-of-fold predictions with grouped CV+ intervals, for each predictor and for `selected`."""
    design = fits.design
    hulls = {name: _in_hull(design, design.folds, name) for name in fits.names}
    labels = tuple(design.fold_names[fold] for fold in design.folds)
    found = []
    for name in (*fits.names, SELECTED):
        values, low, high = (np.empty(design.n_observed) for _ in range(3))
        in_hull = np.empty(design.n_observed, dtype=bool)
        for fold in range(len(design.fold_names)):
            members, left = np.flatnonzero(design.folds == fold), frozenset({fold})
            used = fits.best_predictor(left, target) if name == SELECTED else name
            values[members] = fits.predict(used, left, target)[members]
            in_hull[members] = hulls[used][members]
            centres, residuals = leave_one_more_out(fits, used, left, target)
            low[members], high[members] = jackknife_plus(centres[members], residuals)
        found.append(Predicted(LEAVE_PUBLISHER_OUT, name, values, low, high, labels, in_hull))
    return found


def leave_one_more_out(fits: LeaveOut, name: str, left: Left, target: int) -> tuple[np.ndarray, np.ndarray]:
    """Centres and residuals of CV+ for the models trained without `left`: one further publisher left out at a time.

    Returns centres (rows, n) and residuals (n,) over the n observed models outside `left`. Which predictor is used
    is fixed by `left`; the elastic net chooses its setting each time.
    """
    design = fits.design
    members = np.flatnonzero(~np.isin(design.folds, list(left)))
    centres, residuals = np.empty((len(design.rows), members.size)), np.empty(members.size)
    for fold in fits.remaining(left):
        where = np.flatnonzero(design.folds[members] == fold)
        predicted = fits.predict(name, left | {fold}, target)
        centres[:, where] = predicted[:, None]
        residuals[where] = np.abs(predicted[members[where]] - design.targets[members[where], target])
    return centres, residuals


def forecasts(fits: LeaveOut, target: int) -> list[Forecast]:
    """One forecast per candidate row of the design, by the predictor that nested selection takes on all models."""
    design = fits.design
    if len(design.rows) == design.n_observed:
        return []
    chosen = fits.best_predictor(NOTHING, target)
    columns = design.features_of(chosen)
    names = tuple(design.table.names[column] for column in columns)
    known, candidates = np.split(design.matrix[:, list(columns)], [design.n_observed])
    predicted = fits.predict(chosen, NOTHING, target)[design.n_observed :]
    centres, residuals = leave_one_more_out(fits, chosen, NOTHING, target)
    centres = centres[design.n_observed :]
    low, high = jackknife_plus(centres, residuals)
    outside = outside_range(names, known, candidates)
    found = []
    for row, model in enumerate(design.model_ids[design.n_observed :]):
        reason = _missing(names, candidates[row])
        if not reason and outside[row]:
            reason = "outside what the trained models show: " + "; ".join(str(item) for item in outside[row])
        if reason:
            found.append(Forecast(model, chosen, None, None, None, reason, np.empty(0)))
            continue
        draws = np.concatenate([centres[row] - residuals, centres[row] + residuals])
        ends = [float(end) if np.isfinite(end) else None for end in (low[row], high[row])]
        found.append(Forecast(model, chosen, float(predicted[row]), ends[0], ends[1], "", draws))
    return found


def _in_hull(design: Design, folds: np.ndarray, predictor: str) -> np.ndarray:
    """(observed models,): every feature of the predictor within the range of the models outside the fold."""
    columns = design.features_of(predictor)
    names = tuple(design.table.names[column] for column in columns)
    values = design.matrix[: design.n_observed, list(columns)]
    inside = np.empty(design.n_observed, dtype=bool)
    for fold in np.unique(folds):
        members = folds == fold
        outside = outside_range(names, values[~members], values[members])
        inside[members] = [not features for features in outside]
    return inside


def _missing(names: tuple[str, ...], values: np.ndarray) -> str:
    """Reason why too little is known of a candidate; empty if enough is known. values: (features,)."""
    missing = [name for name, value in zip(names, values, strict=True) if not np.isfinite(value)]
    if SIZE in missing:
        return "its number of parameters is not known"
    if len(missing) > (1 - MIN_SHARE_OF_FEATURES) * len(names):
        shown = ", ".join(missing[:4]) + (", ..." if len(missing) > 4 else "")
        return f"values for {len(missing)} of {len(names)} features are missing ({shown})"
    return ""
