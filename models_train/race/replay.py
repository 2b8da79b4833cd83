"""Races over a census: all candidates trained at all rates to the end, with the outcome of every item at every rung.

A race over a census asks for looks and is given those that were measured, so that what it saves and what it loses are
known (definitions, Section 15).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from models_train.race.race import Race
from models_train.race.rules import SCORED, Candidate, Floats, Look, RaceRules, Work


@dataclass(frozen=True)
class Census:
    """Measurements of all candidates.

    n_items: scored at each rung, always the first ones of one random order; all of them at the last. won: (candidates,
    rates, rungs, items) twice the outcome, 0 to 2, and 0 where not scored. n_tokens: (candidates, rates, rungs) trained
    on from the start; item_tokens: (candidates, items); seconds: (candidates, rates, rungs) of one look; train_loss:
    (candidates, rates, rungs), NaN where not known. failed: (candidates, rates), True for a rate without outcomes.
    """

    candidates: tuple[Candidate, ...]
    rates: tuple[float, ...]
    rungs: tuple[int, ...]
    n_items: tuple[int, ...]
    won: np.ndarray
    n_tokens: np.ndarray
    item_tokens: np.ndarray
    seconds: Floats
    train_loss: Floats
    failed: np.ndarray

    @cached_property
    def accuracies(self) -> Floats:
        """(candidates, rates, rungs) points; NaN for failed rates."""
        found = 50 * np.stack([self.won[:, :, rung, :n].mean(axis=-1) for rung, n in enumerate(self.n_items)], axis=-1)
        found[self.failed] = np.nan
        return np.asarray(found)

    @cached_property
    def final(self) -> Floats:
        """(candidates,) accuracy at the full data with the best rate, in points."""
        return np.asarray(np.nanmax(self.accuracies[:, :, -1], axis=1))

    @cached_property
    def tokens(self) -> float:
        """Tokens of the census as a budget counts them: every rate to the end, scored once."""
        n_rates = len(self.rates)
        return float(self.n_tokens[:, :, -1].sum() + SCORED * n_rates * self.item_tokens.sum())

    @cached_property
    def trained_tokens(self) -> float:
        """Tokens that the census trains on."""
        return float(self.n_tokens[:, :, -1].sum())

    def look(self, work: Work) -> Look:
        """The look that was measured."""
        place = [one.model_id for one in self.candidates].index(work.model_id)
        rate, rung = self.rates.index(work.learning_rate), self.rungs.index(work.n_examples)
        is_failed = bool(self.failed[place, rate])
        won = self.won[place, rate, rung, : work.n_items] / 2
        return Look(
            work.model_id,
            work.learning_rate,
            work.n_examples,
            n_tokens=int(self.n_tokens[place, rate, rung]),
            n_items_tokens=0 if is_failed else int(self.item_tokens[place, : work.n_items].sum()),
            device_seconds=float(self.seconds[place, rate, rung]),
            won=won[:0] if is_failed else won,
            train_loss=None if np.isnan(loss := self.train_loss[place, rate, rung]) else float(loss),
            failure="failed in the census" if is_failed else None,
        )

    def of(self, places: Sequence[int]) -> Census:
        """The census of some of the candidates."""
        rows = list(places)
        arrays = (self.won, self.n_tokens, self.item_tokens, self.seconds, self.train_loss, self.failed)
        return Census(
            tuple(self.candidates[one] for one in rows),
            self.rates,
            self.rungs,
            self.n_items,
            *(one[rows] for one in arrays),
        )

    def rules(self, **changes: Any) -> RaceRules:
        """Rules of a race over it."""
        return RaceRules(self.rungs, self.rates, self.n_items, **changes)


def replay(census: Census, rules: RaceRules) -> Race:
    """The race over a census, at its end."""
    race = Race(census.candidates, rules)
    while work := race.next():
        for one in work:
            race.tell(census.look(one))
    return race


def regret(census: Census, model_id: str | None) -> float:
    """Accuracy of the census's winner less that of a candidate, in points; all of it without a candidate."""
    final = census.final
    if model_id is None:
        return float(final.max())
    place = [one.model_id for one in census.candidates].index(model_id)
    return float(final.max() - final[place])
