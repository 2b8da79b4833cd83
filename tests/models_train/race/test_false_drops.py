"""How often the best is dropped by mistake where it leads by more than the indifference. Synthetic, known truth."""

from __future__ import annotations

import numpy as np
from scipy import stats

from models_train.race.confidence import share_of_look, upper_bounds
from models_train.race.looks import Runner
from models_train.race.replay import Census
from models_train.race.rules import Work
from models_train.race.simulation import World, simulated
from models_train.race.verdicts import Comparison

LOOKS, PANELS, OTHERS, ITEMS = 200, 60, 3, 100
LEAD, INDIFFERENCE, ALPHA = 0.006, 0.005, 0.05


def drawn_looks(dice: np.random.Generator) -> np.ndarray:
    """Differences of the best and each other on the items at one look after the other: (looks, panels * others, items).

    The best is better by LEAD in the population of items. An outcome is in part the same at all looks, in part new.
    """
    pairs = PANELS * OTHERS
    kept = dice.normal(size=(2, pairs, ITEMS))
    new = dice.normal(size=(LOOKS, 2, pairs, ITEMS))
    difficulty = np.sqrt(0.7) * kept + np.sqrt(0.3) * new
    quantile = stats.norm.ppf([0.70 + LEAD, 0.70])[:, None, None]
    won = difficulty < quantile
    return won[:, 0].astype(float) - won[:, 1]


def test_the_best_is_dropped_in_at_most_5_percent_of_panels_after_200_looks() -> None:
    """By the bounds of the items alone: the training is over. A plain 95 % bound at each look drops it more often."""
    looks = drawn_looks(np.random.default_rng(7))
    is_dropped, is_dropped_plainly = np.zeros(PANELS, bool), np.zeros(PANELS, bool)
    for number, rows in enumerate(looks, start=1):
        uppers = upper_bounds(rows, share_of_look(ALPHA, number) / OTHERS)
        is_dropped |= (uppers < INDIFFERENCE).reshape(PANELS, OTHERS).any(axis=1)
        plain = rows.mean(axis=1) + stats.norm.ppf(1 - ALPHA) * rows.std(axis=1) / np.sqrt(ITEMS)
        is_dropped_plainly |= (plain < INDIFFERENCE).reshape(PANELS, OTHERS).any(axis=1)
    assert is_dropped.mean() <= 0.05
    assert is_dropped_plainly.mean() > 0.2


def dropped_in_lockstep(census: Census) -> set[int]:
    """Places of those that are dropped where all are looked at at every rung, and no early end hides a drop."""
    rules, dropped = census.rules(draws=200), set[int]()
    runners = [Runner(one, rules.rates) for one in census.candidates]
    for look, (rung, n_items) in enumerate(zip(rules.rungs, rules.n_items, strict=True), start=1):
        for runner in runners:
            for rate in rules.rates:
                runner.looks[rate].append(census.look(Work(runner.model_id, rate, rung, n_items)))
        compared = Comparison(runners, rules, len(runners), look)
        for place, _, _ in list(compared.drops()):
            runners[place].dropped = "dropped"
            dropped.add(place)
    return dropped


def test_whole_races_drop_many_and_not_the_best() -> None:
    """Over curves, noise of training and items in common; with the drops that an early end would hide."""
    world = World(n_candidates=5, rungs=(100, 200, 400, 800, 1600), n_items=(400, 400, 800, 800, 1600), spread=6.0)
    n_panels = n_drops = n_false = 0
    for seed in range(14):
        census, truth = simulated(world, seed)
        second, first = np.sort(truth)[-2:]
        if first - second > 0.5:
            dropped = dropped_in_lockstep(census)
            n_panels, n_drops = n_panels + 1, n_drops + len(dropped)
            n_false += int(np.argmax(truth)) in dropped
    assert n_panels >= 10
    assert n_drops >= 10
    assert n_false == 0
