"""Made censuses whose truth is known: power-law curves, noise of training, items that are hard for all. Synthetic."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from models_train.race.replay import Census
from models_train.race.rules import Candidate, Floats


@dataclass(frozen=True)
class World:
    """Settings of made censuses, in points of accuracy where no other unit is named.

    ceiling: mean accuracy without end of data; spread: standard deviation of the ceilings; reach: points that are left
    to learn at the first rung, on average; exponent: of the power law in the number of examples, mean and standard
    deviation of its logarithm; noise: of a training; likeness: share of an item's difficulty that candidates have in
    common; size: effect of a tenfold size.
    """

    n_candidates: int = 8
    rungs: tuple[int, ...] = (100, 200, 400, 800, 1600, 3200, 6400)
    n_items: tuple[int, ...] = (100, 100, 200, 400, 800, 800, 800)
    rates: tuple[float, ...] = (1e-3,)
    ceiling: float = 75.0
    spread: float = 4.0
    reach: float = 20.0
    exponent: tuple[float, float] = (0.35, 0.25)
    noise: float = 0.5
    likeness: float = 0.6
    size: float = 2.0


def simulated(world: World, seed: int) -> tuple[Census, Floats]:
    """A census, and the true accuracies at the full data, (candidates,): over the population of items, of these very
    trainings."""
    dice = np.random.default_rng(seed)
    n = world.n_candidates
    sizes = 10 ** dice.uniform(-0.5, 1.0, n)
    ceiling = world.ceiling + world.size * np.log10(sizes) + world.spread * dice.normal(size=n)
    reach = world.reach * np.exp(0.3 * dice.normal(size=n))
    exponent = world.exponent[0] * np.exp(world.exponent[1] * dice.normal(size=n))
    examples = np.array(world.rungs) / world.rungs[0]
    curve = ceiling[:, None] - reach[:, None] * examples ** -exponent[:, None]
    truth = np.stack([curve - 2.0 * place for place in range(len(world.rates))], axis=1)
    truth = np.clip(truth + world.noise * dice.normal(size=truth.shape), 1, 99)
    won = outcomes(truth / 100, world.n_items[-1], world.likeness, dice)
    lengths = dice.integers(80, 160, (1, world.n_items[-1])).repeat(n, axis=0)
    tokens = 120 * np.array(world.rungs)[None, None, :].repeat(n, 0).repeat(len(world.rates), 1)
    names = [f"base-{place}" for place in range(n)]
    candidates = tuple(Candidate(name, float(size)) for name, size in zip(names, sizes, strict=True))
    seconds, unknown = tokens / 1e4, np.full(tokens.shape, np.nan)
    failed = np.zeros(tokens.shape[:2], bool)
    census = Census(candidates, world.rates, world.rungs, world.n_items, won, tokens, lengths, seconds, unknown, failed)
    return census, truth[:, :, -1].max(axis=1)


def outcomes(accuracy: Floats, n_items: int, likeness: float, dice: np.random.Generator) -> np.ndarray:
    """Twice the outcomes of items, (*accuracy.shape, n_items), 0 or 2, whose expectations are `accuracy` (0 to 1).

    The first axis is the candidate. A normal copula: an item is won where its difficulty, in part shared by all
    candidates, in part by the looks at one candidate, in part a look's own, is below the quantile of the accuracy.
    """
    n, others = accuracy.shape[0], accuracy.shape[1:]
    shared = dice.normal(size=n_items)
    own = dice.normal(size=(n, *(1,) * len(others), n_items))
    look = dice.normal(size=(*accuracy.shape, n_items))
    left = 1 - likeness
    difficulty = np.sqrt(likeness) * shared + np.sqrt(0.7 * left) * own + np.sqrt(0.3 * left) * look
    return (2 * (special.ndtr(difficulty) < accuracy[..., None])).astype(np.int8)
