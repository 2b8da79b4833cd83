"""Cross-fitted margins: reward models that are trained on all folds of the pairs but one judge that one's labels."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from models_train.errors import UserError
from models_train.metering import Costs
from models_train.reward_models.search import SearchSetup
from models_train.reward_models.training import TrainingRun
from models_train.reward_models.validation import Validation, checkpoint_rewards
from models_train.selection.item_metrics import Floats

Folds = NDArray[np.int64]
_NO_CHECKPOINTS = 10**9
"""Steps between checkpoints of a run that is measured at its end alone."""


@dataclass(frozen=True)
class CrossFitted:
    """Margins in log-odds, the mean over seeds. train: (pairs,), by reward models that saw no pair of the fold;
    validation: (pairs,), by those of the fold that each pair was given to, too, so that both are alike."""

    train: Floats
    validation: Floats
    costs: Costs


def cross_fit(
    setup: SearchSetup,
    folds: Folds,
    validation_folds: Folds,
    seeds: Sequence[int],
    folder: Path,
    on_run: Callable[[int, int], None],
) -> CrossFitted:
    """Train a reward model for every seed and fold, at the first rate of the recipe and to its end.

    setup: of the pairs. folds, validation_folds: of its examples, from 0. folder: of the runs, which resume from there.
    on_run: called with seed and fold of each that ended. Raises UserError where a fold leaves nothing to train on, or
    a run fails.
    """
    train, validation = setup.data.train.examples, setup.data.validation.examples
    sums, validation_sums = np.zeros(len(train)), np.zeros(len(validation))
    costs = []
    for seed in seeds:
        for fold in np.unique(folds).tolist():
            held, held_too = np.flatnonzero(folds == fold), np.flatnonzero(validation_folds == fold)
            examples = [train[place] for place in np.flatnonzero(folds != fold)]
            if not examples:
                raise UserError("all pairs are of one prompt, which cannot be parted into folds; add other prompts")
            judged = [*(train[place] for place in held), *(validation[place] for place in held_too)]
            run = TrainingRun(
                partial(setup.untrained_model, seed, torch.float32),
                examples,
                setup.recipe.model_copy(update={"checkpoint_every": _NO_CHECKPOINTS}),
                objective=setup.objective,
                learning_rate=setup.recipe.learning_rates[0],
                seed=seed,
                folder=folder / f"s{seed}-f{fold}",
                plan=setup.plan,
                evaluate=Validation(judged, None, setup.plan.tokens_per_pack),
            )
            run.advance(run.n_steps)
            run.release()
            margins = _margins(run)
            sums[held] += margins[: len(held)]
            validation_sums[held_too] += margins[len(held) :]
            costs.append(run.costs)
            on_run(seed, fold)
    return CrossFitted(sums / len(seeds), validation_sums / len(seeds), functools.reduce(operator.add, costs))


def _margins(run: TrainingRun) -> Floats:
    last = run.checkpoints()[-1]
    found = checkpoint_rewards(last.step, last.evaluation)
    return np.asarray(found.chosen.astype(np.float64) - found.rejected)
