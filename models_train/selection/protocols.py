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

from models_train.selection.design import Design
from models_train.selection.elastic_net import PAPER_GRID, Setting
from models_train.selection.leave_out import LeaveOut, Left, TrainingFit, fit_training_set, fit_training_sets
from models_train.selection.predictors import AVERAGE, COMBINED, ELASTIC_NET, SIMPLEST_FIRST, features_read
from models_train.selection.scores import jackknife_plus, residual_interval
from models_train.selection.support import Support

IN_SAMPLE, TEN_FOLD, LEAVE_PUBLISHER_OUT = "paper_in_sample", "paper_10_fold", "leave_publisher_out"
N_FOLDS = 10
NOTHING: Left = frozenset()
PERCENT = (0.0, 100.0)
MIN_SHARE_OF_FEATURES = 0.75
"""A predictor answers for a candidate that has values for this share of the features that it reads."""


@dataclass(frozen=True)
class Predicted:
    """Predictions of the observed models by one predictor under one protocol; arrays are (observed models,).

    low, high: 90 % interval. fold: the publisher, or number of the fold, left out; None in-sample.
    is_supported: no farther from the training models than predictions are made for; None with no publisher left out.
    """

    protocol: str
    predictor: str
    values: np.ndarray
    low: np.ndarray
    high: np.ndarray
    fold: tuple[str | None, ...]
    is_supported: np.ndarray | None = None


@dataclass(frozen=True)
class Forecast:
    """One candidate. predicted, low, high: None where `abstention` says why (low, high also where unbounded).

    predictor: what answers, by the names of its members where these are not all.
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
    """The paper's protocol. folds: (observed models,); fits: one per fold; whole: the fit on all models.

    settings: of the elastic nets in `fits` and `whole`.
    """

    design: Design
    settings: tuple[Setting, ...]
    folds: np.ndarray
    fits: tuple[TrainingFit, ...]
    whole: TrainingFit

    @property
    def names(self) -> tuple[str, ...]:
        """Predictors that were fitted, simplest first."""
        return tuple(name for name in SIMPLEST_FIRST if name == ELASTIC_NET or name in self.whole.others)

    def grid(self, target: int) -> np.ndarray:
        """Out-of-fold predictions of every setting, (settings, observed models)."""
        everything = np.stack([fit.grid[target] for fit in self.fits])
        return everything[self.folds, :, np.arange(self.folds.size)].T

    def other(self, name: str, target: int) -> np.ndarray:
        """Out-of-fold predictions (observed models,) of a predictor that is not the elastic net."""
        everything = np.stack([fit.others[name][target] for fit in self.fits])
        return everything[self.folds, np.arange(self.folds.size)]

    def setting(self, target: int) -> int:
        """The setting with the smallest mean over folds of the fold's mean absolute error."""
        errors = np.abs(self.grid(target) - self.design.targets[:, target])
        by_fold = [errors[:, self.folds == fold].mean(axis=1) for fold in range(len(self.fits))]
        return int(np.mean(by_fold, axis=0).argmin())


def ten_fold(design: Design, seed: int = 0, n_jobs: int = 1, settings: Sequence[Setting] = PAPER_GRID) -> TenFold:
    """Fit all predictors on ten random folds (fewer if there are fewer models), and on all models."""
    splitter = KFold(min(N_FOLDS, design.n_observed), shuffle=True, random_state=seed)
    splits = list(splitter.split(np.arange(design.n_observed)))
    folds = np.empty(design.n_observed, dtype=int)
    for number, (_, test) in enumerate(splits):
        folds[test] = number
    fits = fit_training_sets(design, [train for train, _ in splits], n_jobs, settings)
    whole = fit_training_set(design, np.arange(design.n_observed), settings=settings)
    return TenFold(design, tuple(settings), folds, tuple(fits), whole)


def in_sample_predictions(folds: TenFold, target: int) -> list[Predicted]:
    """Every predictor refitted on all models, predicting these; intervals from in-sample residuals, so too narrow."""
    design, whole = folds.design, folds.whole
    found = []
    for name in folds.names:
        fitted = whole.grid[target, folds.setting(target)] if name == ELASTIC_NET else whole.others[name][target]
        values = fitted[: design.n_observed]
        low, high = residual_interval(values, np.abs(values - design.targets[:, target]))
        found.append(Predicted(IN_SAMPLE, name, values, low, high, (None,) * design.n_observed))
    return found


def ten_fold_predictions(folds: TenFold, target: int) -> list[Predicted]:
    """Out-of-fold predictions of the ten folds; a fold's interval comes from the residuals of the other nine."""
    found = []
    for name in folds.names:
        values = folds.grid(target)[folds.setting(target)] if name == ELASTIC_NET else folds.other(name, target)
        residuals = np.abs(values - folds.design.targets[:, target])
        low, high = np.empty_like(values), np.empty_like(values)
        for fold in np.unique(folds.folds):
            members = folds.folds == fold
            low[members], high[members] = residual_interval(values[members], residuals[~members])
        found.append(Predicted(TEN_FOLD, name, values, low, high, tuple(str(fold + 1) for fold in folds.folds)))
    return found


def leave_publisher_out_predictions(fits: LeaveOut, target: int) -> list[Predicted]:
    """Nested out-of-fold predictions with grouped CV+ intervals, for each predictor and for those made of others."""
    design = fits.design
    is_supported = supported(fits)
    labels = tuple(design.fold_names[fold] for fold in design.folds)
    found = []
    for name in (*fits.names, *COMBINED):
        values, low, high = (np.empty(design.n_observed) for _ in range(3))
        for fold in range(len(design.fold_names)):
            members, left = np.flatnonzero(design.folds == fold), frozenset({fold})
            values[members] = fits.predict(name, left, target)[members]
            centres, residuals = leave_one_more_out(fits, name, left, target)
            low[members], high[members] = jackknife_plus(centres[members], residuals)
        found.append(Predicted(LEAVE_PUBLISHER_OUT, name, values, low, high, labels, is_supported))
    return found


def supported(fits: LeaveOut) -> np.ndarray:
    """(observed models,): whether a prediction would be made, from the models of other publishers alone."""
    folds, support = fits.design.folds, Support(fits, fits.members)
    found = np.empty(folds.size, dtype=bool)
    for fold in range(len(fits.design.fold_names)):
        members, left = np.flatnonzero(folds == fold), frozenset({fold})
        found[members] = support.distances(left)[members] <= support.limit(left)
    return found


def leave_one_more_out(
    fits: LeaveOut, name: str, left: Left, target: int, members: tuple[str, ...] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """Centres and residuals of CV+ for the models trained without `left`: one further publisher left out at a time.

    Returns centres (rows, n) and residuals (n,) over the n observed models outside `left`. The whole procedure is
    repeated each time: setting, shrinkage and choice of predictor, too. members: of an average, if not all.
    """
    design = fits.design
    inside = np.flatnonzero(~np.isin(design.folds, list(left)))
    centres, residuals = np.empty((len(design.rows), inside.size)), np.empty(inside.size)
    for fold in fits.remaining(left):
        where = np.flatnonzero(design.folds[inside] == fold)
        predicted = fits.predict(name, left | {fold}, target, members)
        centres[:, where] = predicted[:, None]
        residuals[where] = np.abs(predicted[inside[where]] - design.targets[inside[where], target])
    return centres, residuals


def forecasts(fits: LeaveOut, target: int) -> list[Forecast]:
    """One forecast per candidate row of the design, by the average of the predictors that it has the features for.

    The same average, of the same members, is what the interval is calibrated on and the distance is measured for.
    """
    design = fits.design
    rows = range(design.n_trained, len(design.rows))
    answering = {row: fits.readable(row, MIN_SHARE_OF_FEATURES) for row in rows}
    by_members = {members: _Answer.of(fits, target, members) for members in sorted(set(answering.values())) if members}
    found = []
    for row, members in answering.items():
        if not members:
            missing = ", ".join(_missing(fits, row)) or "none"
            reason = f"no predictor has the features that it needs (missing: {missing})"
            found.append(Forecast(design.model_ids[row], AVERAGE, None, None, None, reason, np.empty(0)))
        else:
            found.append(by_members[members].forecast(row))
    return found


@dataclass(frozen=True)
class _Answer:
    """The average of some members, trained on all models: predictions (rows,), centres (rows, n), residuals (n,)."""

    fits: LeaveOut
    members: tuple[str, ...]
    predicted: np.ndarray
    centres: np.ndarray
    residuals: np.ndarray
    support: Support

    @classmethod
    def of(cls, fits: LeaveOut, target: int, members: tuple[str, ...]) -> _Answer:
        predicted = fits.predict(AVERAGE, NOTHING, target, members)
        calibration = leave_one_more_out(fits, AVERAGE, NOTHING, target, members)
        return cls(fits, members, predicted, *calibration, Support(fits, members))

    @property
    def name(self) -> str:
        """`average`, or `average of log10_params and family_size` where these are the members."""
        if self.members == self.fits.members:
            return AVERAGE
        *first, last = self.members
        return f"{AVERAGE} of {', '.join(first)} and {last}" if first else f"{AVERAGE} of {last} alone"

    def forecast(self, row: int) -> Forecast:
        """The forecast of one row of the design, or its abstention."""
        model = self.fits.design.model_ids[row]
        if reason := self.support.reason_against(row):
            return Forecast(model, self.name, None, None, None, reason, np.empty(0))
        (low,), (high,) = jackknife_plus(self.centres[[row]], self.residuals)
        ends = [_percent(end) if np.isfinite(end) else None for end in (low, high)]
        draws = np.concatenate([self.centres[row] - self.residuals, self.centres[row] + self.residuals])
        predicted = _percent(self.predicted[row])
        return Forecast(model, self.name, predicted, ends[0], ends[1], "", np.clip(draws, *PERCENT))


def _percent(value: float) -> float:
    """A forecast of a share, which a straight line through few models can put outside of what is possible."""
    return float(np.clip(value, *PERCENT))


def _missing(fits: LeaveOut, row: int) -> list[str]:
    """Names of the features that a row has no value for and a predictor reads, at most four."""
    design = fits.design
    columns = sorted({column for read in features_read(design.columns).values() for column in read})
    missing = [design.table.names[column] for column in columns if not np.isfinite(design.matrix[row, column])]
    return [*missing[:4], "..."] if len(missing) > 4 else missing
