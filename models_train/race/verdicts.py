"""What follows from a forecast: who is dropped, who is named, who is worth the next tokens (definitions, Section 15)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from models_train.race.confidence import lower_bounds, share_of_look, upper_bounds
from models_train.race.curves import Forecast
from models_train.race.looks import Runner, paired
from models_train.race.rules import Floats, RaceRules

LIKE_GAIN = 0.5
"""A candidate is worth the next tokens where its gain per token is at least this share of the largest."""


@dataclass(frozen=True)
class Lead:
    """Accuracy at the full data of one candidate less that of another, in points, with its interval."""

    estimate: float
    lower: float
    upper: float


@dataclass(frozen=True)
class Comparison:
    """The candidates of a round, with their forecast; places are those of `runners`, which all have looks.

    n_candidates: all of the race, failed ones too. look: number of the round, from 1.
    """

    runners: Sequence[Runner]
    forecast: Forecast
    rules: RaceRules
    n_candidates: int
    look: int

    @property
    def alive(self) -> list[int]:
        """Places of those that can still win."""
        return [place for place, runner in enumerate(self.runners) if runner.is_in]

    @property
    def chances(self) -> Floats:
        """Probability of being the best of all, (runners,)."""
        best = self.forecast.draws.argmax(axis=1)
        return np.bincount(best, minlength=len(self.runners)) / len(best)

    @property
    def within(self) -> Floats:
        """Probability that nothing is better by more than the indifference, (runners,)."""
        draws = self.forecast.draws
        return np.asarray((draws >= draws.max(axis=1, keepdims=True) - self.rules.indifference).mean(axis=0))

    def leader(self) -> int:
        """The one with the highest expected accuracy; of equal ones the cheapest."""
        expected = self.forecast.expected
        return min(self.alive, key=lambda place: (-round(expected[place], 9), self.runners[place].candidate.cost))

    def winner(self) -> int:
        """The cheapest to serve of those that are within the indifference beyond doubt; else the likeliest to be so."""
        within, sure = self.within, []
        sure = [place for place in self.alive if within[place] >= self.rules.confidence]
        if sure:
            return min(sure, key=lambda place: (self.runners[place].candidate.cost, -within[place]))
        return max(self.alive, key=lambda place: (within[place], self.forecast.expected[place]))

    def lead(self, one: int, other: int) -> Lead:
        """The lead with the error of the extrapolation and of the items; each end is at the level of a drop."""
        estimate, _ = self.forecast.lead(one, other)
        if one == other:
            return Lead(0.0, 0.0, 0.0)
        low, high = (self.forecast.quantile(one, other, share) for share in (self._doubt, 1 - self._doubt))
        below, above = self._item_reach(one, other)
        return Lead(estimate, low - below, high + above)

    def drops(self) -> Iterator[tuple[int, int, Lead]]:
        """Candidates that cannot be better than another by more than the indifference: place, the other's, the lead."""
        expected, gone = self.forecast.expected, set[int]()
        leader = self.leader()
        for one in sorted(self.alive, key=lambda place: (expected[place], -self.runners[place].candidate.cost)):
            others = [other for other in self.alive if other not in gone and expected[other] >= expected[one]]
            found = [(self.lead(one, other), other) for other in others if other != one and self._may_drop(one, other)]
            beaten = [(lead, other) for lead, other in found if lead.upper < self.rules.indifference]
            if beaten and one != leader:
                lead, other = min(beaten, key=lambda pair: pair[0].upper)
                gone.add(one)
                yield one, other, lead

    def worth(self, costs: Sequence[float]) -> list[int]:
        """Places that are worth the next tokens, the largest expected gain per cost first.

        costs: (runners,) of the next step; infinite where there is none. Gain of a candidate: what is expected to be
        lost where the leader is named and the candidate is better; of the leader, the largest of the others'.
        """
        draws, leader = self.forecast.draws, self.leader()
        gains = np.maximum(draws - draws[:, [leader]], 0).mean(axis=0)
        gains[leader] = gains.max()
        index = {place: float((gains[place] + 1e-9) / max(costs[place], 1e-9)) for place in self.alive}
        ranked = sorted((place for place in index if np.isfinite(costs[place])), key=lambda place: -index[place])
        return [place for place in ranked if index[place] >= LIKE_GAIN * index[ranked[0]]]

    @property
    def _doubt(self) -> float:
        """Of a candidate's extrapolation: half of what is allowed, shared among the candidates."""
        return (1 - self.rules.confidence) / 2 / self.n_candidates

    def _may_drop(self, one: int, other: int) -> bool:
        """False where the extrapolation alone forbids it."""
        return self.forecast.chance_above(one, other, self.rules.indifference) < self._doubt

    def _item_reach(self, one: int, other: int) -> tuple[float, float]:
        """How far the mean over the items' population may be below and above that over the items, in points."""
        looks = [self.runners[place].last() for place in (one, other)]
        assert looks[0] is not None and looks[1] is not None, "runners have looks"
        difference = paired(looks[0], looks[1])
        alpha = share_of_look((1 - self.rules.confidence) / 2, self.look) / max(1, self.n_candidates - 1)
        mean, rows = float(difference.mean()), difference[None, :]
        below, above = lower_bounds(rows, alpha)[0], upper_bounds(rows, alpha)[0]
        return 100 * (mean - float(below)), 100 * (float(above) - mean)
