"""Predictions for models that no reward model was trained on, or a stated abstention."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models_train.selection.features import SIZE, outside_range
from models_train.selection.intervals import jackknife_plus
from models_train.selection.leave_out import LeaveOut
from models_train.selection.protocols import NOTHING, leave_one_more_out

MIN_SHARE_OF_FEATURES = 0.75
"""A candidate with values for fewer of the model's features gets no prediction."""


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


def _missing(names: tuple[str, ...], values: np.ndarray) -> str:
    """Why too little is known of a candidate, in words; empty if enough. values: (features,)."""
    missing = [name for name, value in zip(names, values, strict=True) if not np.isfinite(value)]
    if SIZE in missing:
        return "its number of parameters is not known"
    if len(missing) > (1 - MIN_SHARE_OF_FEATURES) * len(names):
        shown = ", ".join(missing[:4]) + (", ..." if len(missing) > 4 else "")
        return f"values for {len(missing)} of {len(names)} features are missing ({shown})"
    return ""
