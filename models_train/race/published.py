"""Races over published accuracies: a simulation in which items are Bernoulli draws (definitions, Section 15).

The reward models are trained already, so that a rung is a number of items, not of examples. Nothing is known of who
wins which item: outcomes are drawn by the published accuracy of the item's category, with a difficulty that is in part
shared.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models_train.errors import UserError
from models_train.race.replay import Census
from models_train.race.rules import Candidate, Floats, doubling
from models_train.race.simulation import outcomes

RATE = 1.0
"""Stands for the learning rate that was chosen where the reward model was trained."""


def published_census(
    candidates: Sequence[Candidate], accuracies: Floats, seed: int, *, per_category: int = 746, likeness: float = 0.5
) -> Census:
    """A census whose items are drawn. accuracies: (candidates, categories) in points.

    Every category has as many items as the others, so that the mean over items is the published score, the mean of the
    categories. likeness: share of an item's difficulty that is the same for all. Each item counts as one token. Raises
    UserError for accuracies that are missing or no percentages.
    """
    if accuracies.shape[0] != len(candidates) or not ((accuracies >= 0) & (accuracies <= 100)).all():
        raise UserError("published accuracies: one row per candidate is needed, each value a percentage from 0 to 100")
    dice = np.random.default_rng(seed)
    n_categories = accuracies.shape[1]
    won = np.concatenate(
        [outcomes(accuracies[:, place] / 100, per_category, likeness, dice) for place in range(n_categories)], axis=1
    )
    won = won[:, dice.permutation(won.shape[1])]
    n_items = won.shape[1]
    rungs = doubling(max(2, n_items // 32), n_items)
    shape = (len(candidates), 1, len(rungs))
    return Census(
        candidates=tuple(candidates),
        rates=(RATE,),
        rungs=rungs,
        n_items=rungs,
        won=np.broadcast_to(won[:, None, None, :], (*shape, n_items)),
        n_tokens=np.zeros(shape, np.int64),
        item_tokens=np.ones((len(candidates), n_items), np.int64),
        seconds=np.zeros(shape),
        train_loss=np.full(shape, np.nan),
        failed=np.zeros(shape[:2], bool),
    )
