"""Other ways to choose a base, on the same census as a race: what each names, and the tokens that it takes to choose.

None uses a prior, or compares item by item. The tokens that train the named base to the end are nobody's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.optimize import least_squares

from models_train.race.replay import Census
from models_train.race.rules import SCORED, Floats

Chosen = tuple[int, float, float]
"""Place of the candidate; tokens trained on, tokens scored."""


@dataclass(frozen=True)
class Arms:
    """Every candidate at every rate that has not failed. candidate, rate: (arms,) places."""

    census: Census
    candidate: np.ndarray
    rate: np.ndarray

    @cached_property
    def accuracies(self) -> Floats:
        """(arms, rungs) points."""
        return np.asarray(self.census.accuracies[self.candidate, self.rate])

    def trained(self, rung: int) -> Floats:
        """(arms,) tokens trained on up to a rung; 0 for rung -1."""
        if rung < 0:
            return np.zeros(len(self.candidate))
        return np.asarray(self.census.n_tokens[self.candidate, self.rate, rung], dtype=float)

    def scored(self, rung: int) -> Floats:
        """(arms,) tokens of one look at a rung."""
        items = self.census.item_tokens[:, : self.census.n_items[rung]]
        return np.asarray(items.sum(axis=1)[self.candidate], dtype=float)


def arms_of(census: Census) -> Arms:
    """The arms of a census."""
    return Arms(census, *np.nonzero(~census.failed))


def full_census(census: Census, budget: float, dice: np.random.Generator) -> Chosen:
    """Everything trained to the end."""
    arms = arms_of(census)
    return int(np.argmax(census.final)), float(arms.trained(len(census.rungs) - 1).sum()), float(arms.scored(-1).sum())


def size_alone(census: Census, budget: float, dice: np.random.Generator) -> Chosen:
    """The largest; one of those by chance."""
    return _largest(np.array([one.params_b for one in census.candidates]), dice), 0.0, 0.0


def best_benchmark(census: Census, budget: float, dice: np.random.Generator) -> Chosen:
    """The best by its public benchmark; by chance where there is none."""
    values = [0.0 if one.benchmark is None else one.benchmark for one in census.candidates]
    return _largest(np.array(values), dice), 0.0, 0.0


def successive_halving(census: Census, budget: float, dice: np.random.Generator) -> Chosen:
    """Half of the arms go on after each rung, by plain accuracy (Karnin, Koren and Somekh 2013; Jamieson and Talwalkar
    2016, arXiv 1502.07943). It begins at the last rung that the budget allows."""
    arms = arms_of(census)
    found = [_halved(arms, first) for first in range(len(census.rungs))]
    return next((one for one in reversed(found) if _cost(one) <= budget), found[0])


def equal_shares(census: Census, budget: float, dice: np.random.Generator) -> Chosen:
    """All arms to the last rung that the budget allows, and the best there."""
    arms = arms_of(census)
    rung, trained, scored = _last_shared_rung(arms, budget)
    return int(arms.candidate[np.argmax(arms.accuracies[:, rung])]), trained, scored


def scaling_law(census: Census, budget: float, dice: np.random.Generator) -> Chosen:
    """The rectified scaling law of fine-tuning (Lin et al. 2024, arXiv 2402.02314): L(D) = B / (D_l + D^beta) + E.

    All arms to the last rung that the budget allows; the law is fitted to each arm's losses and the lowest at the full
    data wins. Losses are those of examples before they are trained on, mean of the second half of the steps so far. By
    accuracies (100 less them) where losses are not known. For an arm with fewer than three rungs, the last value is
    used.
    """
    arms = arms_of(census)
    rung, trained, scored = _last_shared_rung(arms, budget)
    losses = census.train_loss[arms.candidate, arms.rate, : rung + 1]
    if np.isnan(losses).any():
        losses = (100 - arms.accuracies[:, : rung + 1]) / 100
    examples = np.array(census.rungs, dtype=float)
    at_end = [rectified(examples[: rung + 1], one, examples[-1]) for one in losses]
    return int(arms.candidate[np.argmin(at_end)]), trained, scored


def rectified(examples: Floats, losses: Floats, at: float) -> float:
    """The rectified scaling law, fitted to losses by least squares of logarithms, at a number of examples."""
    if len(examples) < 3:
        return float(losses[-1])
    begin, scale = np.log(np.maximum(losses, 1e-9)), float(np.log(examples[0]))

    def predicted(values: Floats, where: Floats | float) -> Floats:
        log_b, log_dl, beta, log_e = values
        return np.asarray(np.log(np.exp(log_b) / (np.exp(log_dl) + np.power(where, beta)) + np.exp(log_e)))

    lowest = float(begin.min())
    start = [lowest + 0.4 * scale + 0.5, 0.0, 0.4, lowest - 1.0]
    bounds = ([-20.0, -10.0, 0.01, -20.0], [40.0, 20.0, 2.0, lowest + 1e-6])
    fitted = least_squares(lambda values: predicted(values, examples) - begin, start, bounds=bounds, max_nfev=200)
    return float(np.exp(predicted(fitted.x, at)))


PEERS: Mapping[str, Callable[[Census, float, np.random.Generator], Chosen]] = {
    "full census": full_census,
    "successive halving": successive_halving,
    "equal shares": equal_shares,
    "rectified scaling law": scaling_law,
    "best public benchmark": best_benchmark,
    "size alone": size_alone,
}
"""By name; budget: in tokens, scored ones counting SCORED. dice: for what is equal."""


def _cost(chosen: Chosen) -> float:
    return chosen[1] + SCORED * chosen[2]


def _largest(values: Floats, dice: np.random.Generator) -> int:
    return int(dice.choice(np.flatnonzero(values == values.max())))


def _halved(arms: Arms, first: int) -> Chosen:
    """Successive halving from a rung on; equal arms keep their order."""
    left, trained, scored, before = np.arange(len(arms.candidate)), 0.0, 0.0, -1
    for rung in range(first, arms.accuracies.shape[1]):
        trained += float((arms.trained(rung) - arms.trained(before))[left].sum())
        scored += float(arms.scored(rung)[left].sum())
        before = rung
        left = left[np.argsort(-arms.accuracies[left, rung], kind="stable")]
        if len(left) == 1:
            break
        left = left[: (len(left) + 1) // 2]
    return int(arms.candidate[left[0]]), trained, scored


def _last_shared_rung(arms: Arms, budget: float) -> tuple[int, float, float]:
    """The last rung that all arms can be trained to, looked at once, with its tokens; the first where none fits."""
    costs = [(float(arms.trained(one).sum()), float(arms.scored(one).sum())) for one in range(arms.accuracies.shape[1])]
    rung = max((place for place, cost in enumerate(costs) if cost[0] + SCORED * cost[1] <= budget), default=0)
    return rung, *costs[rung]
