"""Do features of the pre-training mix improve the prediction by more than chance?

The elastic net of the honest protocol, straight lines only, once with the features of the mix and 100 times with as
many random features that are constant within a family (placebos): a family label alone can look like a discovery. The
mix counts only if its error is below that of 95 of the placebos. It is never a member of the average.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from joblib import Parallel, delayed

from models_train.selection.design import Design
from models_train.selection.elastic_net import LINES
from models_train.selection.leave_out import leave_out
from models_train.selection.predictors import ELASTIC_NET

N_PLACEBOS = 100


@dataclass(frozen=True)
class MixTrial:
    """Predictions with the publisher left out of the net with the mix, and errors of the placebos.

    predictions: (targets, observed models); placebo_errors: (placebos, targets), mean absolute errors in points.
    """

    predictions: np.ndarray
    placebo_errors: np.ndarray


def mix_trial(design: Design, seed: int = 0, n_jobs: int = 1, n_placebos: int = N_PLACEBOS) -> MixTrial | None:
    """The trial of a design; None without features of the mix."""
    if not design.columns.mix:
        return None
    wider = replace(design.columns, elastic_net=design.columns.elastic_net + design.columns.mix)
    with_mix = replace(design, columns=wider)
    family = design.matrix[:, design.columns.family].astype(int)
    draws = np.random.default_rng(seed).standard_normal((n_placebos, family.max() + 1, len(wider.mix)))
    trials = [with_mix, *(_with_values(with_mix, draw[family]) for draw in draws)]
    predicted = Parallel(n_jobs=n_jobs)(delayed(held_out)(trial) for trial in trials)
    errors = np.abs(np.stack(predicted[1:]) - design.targets.T).mean(axis=2)
    return MixTrial(predicted[0], errors)


def held_out(design: Design) -> np.ndarray:
    """Nested predictions of the elastic net, publisher left out, (targets, observed models)."""
    fits = leave_out(design, settings=LINES, elastic_net_only=True)
    found = np.empty((design.targets.shape[1], design.n_observed))
    for fold in range(len(design.fold_names)):
        rows = np.flatnonzero(design.folds == fold)
        for target in range(found.shape[0]):
            found[target, rows] = fits.predict(ELASTIC_NET, frozenset({fold}), target)[rows]
    return found


def _with_values(design: Design, values: np.ndarray) -> Design:
    """The design with other values of the mix; values: (rows, features of the mix), missing where the mix is."""
    matrix = design.matrix.copy()
    columns = list(design.columns.mix)
    matrix[:, columns] = np.where(np.isfinite(matrix[:, columns]), values, np.nan)
    return replace(design, matrix=matrix)
