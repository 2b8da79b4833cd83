"""Rewards with checks (definitions, Section 16): z(reward) + sum of weight * check, and the choice of weights.

Arrays have one row per item or prompt and one column per completion or response.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from models_train.selection.item_metrics import Flags, Floats, Items, unit_values
from models_train.teachers.properties import z_scores
from models_train.teachers.resampling import SPLITS, half_splits

Weights = tuple[float, ...]


def added(rewards: Floats, checks: Floats) -> Floats:
    """What each check adds, before its weight: its value where it has one for every rewarded cell of a row, else 0.

    rewards: (rows, columns), NaN for none; checks: (checks, rows, columns), NaN for no value. A check that did not run
    on one completion would otherwise count as not passed there, and as passed on the others of its row.
    """
    there = np.isfinite(rewards)
    known = (np.isfinite(checks) | ~there).all(axis=2, keepdims=True)
    return np.where(known & there & np.isfinite(checks), checks, 0.0)


def scores(rewards: Floats, checks: Floats, weights: Sequence[float]) -> Floats:
    """Rewards with checks, (rows, columns): NaN where there is no reward, and everywhere where rewards do not vary.

    rewards, checks: as in `added`. The mean and standard deviation (ddof 1) are those of all cells.
    """
    known = np.where(np.isfinite(rewards), rewards, np.nan)
    standard = z_scores(known[None])[0]
    return np.asarray(standard + np.tensordot(np.asarray(weights, dtype=float), added(known, checks), axes=1))


def chooses(subset: str, item_id: str, share: float) -> bool:
    """Whether an item is one of those that weights are chosen on, by the hash of its name; Ties' two prompts of an ID
    go together."""
    name = item_id.removeprefix("ref:").removeprefix("tied:")
    digest = hashlib.sha256(f"{subset}/{name}".encode()).digest()
    return int.from_bytes(digest[:4]) / 2**32 < share


def that_choose(items: Items, share: float) -> Flags:
    """The same of all items, (items,)."""
    return np.array(
        [chooses(str(subset), str(item), share) for subset, item in zip(items.subsets, items.ids, strict=True)], bool
    )


@dataclass(frozen=True)
class Fit:
    """Weights that were chosen. points: of the grid; accuracies: (points,), of the items that choose."""

    points: list[Weights]
    accuracies: Floats
    chosen: int
    n_items: int
    accuracy_plain: float
    accuracy_choosing_half: float | None
    accuracy_other_half: float | None

    @property
    def weights(self) -> Weights:
        return self.points[self.chosen]

    @property
    def optimism_points(self) -> float | None:
        """What the choice flatters its own half by, in points."""
        if self.accuracy_choosing_half is None or self.accuracy_other_half is None:
            return None
        return 100 * (self.accuracy_choosing_half - self.accuracy_other_half)


def fit(items: Items, rewards: Floats, checks: Floats, grid: Sequence[float], share: float, seed: int) -> Fit | None:
    """The weights of the highest mean value of the items that choose, the smallest ones of equally good ones.

    checks: (checks, items, completions). Optimism: of random halves of these items, used both ways round, one chooses
    and the other measures. None where no item can choose.
    """
    points = sorted(product(sorted({0.0, *grid}), repeat=len(checks)), key=lambda one: (sum(one), one))
    rows = that_choose(items, share)
    chosen_items, mine = items.take(rows), added(rewards, checks)[:, rows]
    standard = z_scores(np.where(np.isfinite(rewards), rewards, np.nan)[None])[0][rows]
    if not np.isfinite(standard).any():
        return None
    values = np.stack(
        [
            unit_values(chosen_items, standard + np.tensordot(point, mine, axes=1), main_only=True).main_values
            for point in points
        ]
    )
    values = values[:, ~np.isnan(values).any(axis=0)]
    n_items = values.shape[1]
    if not n_items:
        return None
    accuracies = values.mean(axis=1)
    halves = half_splits(n_items, SPLITS, seed) if n_items > 1 else np.empty((0, n_items), bool)
    both = [
        (values[best, half].mean(), values[best, ~half].mean())
        for one in halves
        for half in (one, ~one)
        for best in [_best(values[:, half].mean(axis=1))]
    ]
    choosing, other = (float(one) for one in np.mean(both, axis=0)) if both else (None, None)
    return Fit(points, accuracies, _best(accuracies), n_items, float(accuracies[0]), choosing, other)


def _best(accuracies: Floats) -> int:
    """The first of the highest, rounding aside."""
    return int(np.flatnonzero(accuracies >= accuracies.max() - 1e-12)[0])
