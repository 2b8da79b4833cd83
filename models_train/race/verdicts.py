"""What follows from a forecast: who is dropped, who is named, who is worth the next tokens. Definitions, Section 15."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from models_train.race.confidence import lower_bounds, share_of_look, upper_bounds
from models_train.race.curves import Arms, Forecast, Priors, forecast
from models_train.race.looks import Runner, likeness, paired, points_of
from models_train.race.rules import Candidate, Look, RaceRules

LIKE_GAIN = 0.5
"""An arm is worth the next tokens where its gain per cost is at least this share of the largest."""
COST_POWER = 0.5
"""Power of the cost: a look that costs more tells more, too."""
RATE_DOUBT = 0.01
"""A rate is dropped where its chance of being the best of its candidate is below this."""


@dataclass(frozen=True)
class Lead:
    """Accuracy at the full data of one candidate less that of another, in points, with its interval."""

    estimate: float
    lower: float
    upper: float


@dataclass(frozen=True, eq=False)
class Arm:
    """A candidate at a rate that has been looked at. base: place of the candidate; is_in: it can go on."""

    base: int
    rate: float
    looks: Sequence[Look]
    is_in: bool


class Comparison:
    """The candidates of a round, with their forecast; places are those of `runners`, which all have looks.

    n_candidates: all of the race, failed ones too. look: number of the round, from 1. A candidate is as good as its
    best rate: `draws` (draws, candidates) are the largest of its arms'.
    """

    def __init__(self, runners: Sequence[Runner], rules: RaceRules, n_candidates: int, look: int) -> None:
        self.runners, self.rules, self.n_candidates, self.look = runners, rules, n_candidates, look
        self.arms = arms_of(runners, rules)
        self.forecast = forecast_of(runners, self.arms, rules, rules.seed + look)
        self._arms_of = [
            [place for place, arm in enumerate(self.arms) if arm.base == base] for base in range(len(runners))
        ]
        self.draws = np.stack([self.forecast.draws[:, places].max(axis=1) for places in self._arms_of], axis=1)
        self.expected = self.draws.mean(axis=0)
        self.chances = np.bincount(self.draws.argmax(axis=1), minlength=len(runners)) / len(self.draws)
        """Probability of being the best of all."""
        best = self.draws.max(axis=1, keepdims=True)
        self.within = (self.draws >= best - rules.indifference).mean(axis=0)
        """Probability that nothing is better by more than the indifference."""

    @property
    def alive(self) -> list[int]:
        """Places of those that can still win."""
        return [place for place, runner in enumerate(self.runners) if runner.is_in]

    def leader(self) -> int:
        """The one with the highest expected accuracy; of equal ones the cheapest."""
        return min(self.alive, key=lambda place: (-round(self.expected[place], 9), self.runners[place].candidate.cost))

    def winner(self) -> int:
        """The cheapest to serve of those that are within the indifference beyond doubt; else the likeliest to be so."""
        sure = [place for place in self.alive if self.within[place] >= self.rules.confidence]
        if sure:
            return min(sure, key=lambda place: (self.runners[place].candidate.cost, -self.within[place]))
        return max(self.alive, key=lambda place: (self.within[place], self.expected[place]))

    def best_arm(self, base: int) -> int:
        """The arm of a candidate with the highest expected accuracy."""
        return max(self._arms_of[base], key=lambda arm: float(self.forecast.expected[arm]))

    def lead(self, one: int, other: int) -> Lead:
        """The lead with the error of the extrapolation and of the items; each end is at the level of a drop."""
        if one == other:
            return Lead(0.0, 0.0, 0.0)
        below, above = self._item_reach(one, other)
        estimate = float(self.expected[one] - self.expected[other])
        return Lead(estimate, -self._upper(other, one) - below, self._upper(one, other) + above)

    def drops(self) -> Iterator[tuple[int, int, Lead]]:
        """Candidates that another one beats beyond doubt, or that are not better than it by more than the indifference
        and no cheaper to serve: place, the other's, the lead. The last one is never dropped."""
        gone = set[int]()
        costs = [runner.candidate.cost for runner in self.runners]
        for one in sorted(self.alive, key=lambda place: (self.expected[place], -costs[place])):
            others = [
                other for other in self.alive if other not in gone and other != one and self._may_drop(one, other)
            ]
            found = [(self.lead(one, other), other) for other in others]
            beaten = [
                (lead, other)
                for lead, other in found
                if lead.upper < 0 or (lead.upper < self.rules.indifference and costs[one] >= costs[other])
            ]
            if beaten:
                lead, other = min(beaten, key=lambda pair: pair[0].upper)
                gone.add(one)
                yield one, other, lead

    def rate_drops(self) -> Iterator[tuple[Arm, Arm, float]]:
        """Rates that are not the best of their candidate beyond doubt: the arm, the best one, its chance."""
        for places in self._arms_of:
            chances = np.bincount(self.forecast.draws[:, places].argmax(axis=1), minlength=len(places))
            for place, count in zip(places, chances, strict=True):
                chance = float(count / len(self.draws))
                best = self.arms[self.best_arm(self.arms[place].base)]
                if self.arms[place].is_in and best.is_in and chance < RATE_DOUBT and best is not self.arms[place]:
                    yield self.arms[place], best, chance

    def worth(self, costs: Mapping[Arm, float]) -> list[Arm]:
        """Arms that are worth the next tokens, the largest expected gain per root of the cost first.

        costs: of the next step of those that have one. Gain of an arm: what is expected to be lost where the leader is
        named and the arm is better; of the leader's arms, the largest of the others', times the chance to be its best.
        """
        leader = self.leader()
        ahead = np.maximum(self.draws - self.draws[:, [leader]], 0).mean(axis=0).max()
        own = self._arms_of[leader]
        is_best = np.bincount(self.forecast.draws[:, own].argmax(axis=1), minlength=len(own)) / len(self.draws)
        gains = np.maximum(self.forecast.draws - self.draws[:, [leader]], 0).mean(axis=0)
        gains[own] = ahead * is_best
        index = {
            arm: float((gains[place] + 1e-9) / max(costs[arm], 1e-9) ** COST_POWER)
            for place, arm in enumerate(self.arms)
            if arm in costs
        }
        ranked = sorted(index, key=lambda arm: -index[arm])
        return [arm for arm in ranked if index[arm] >= LIKE_GAIN * index[ranked[0]]]

    @property
    def _doubt(self) -> float:
        """Of a candidate's extrapolation: half of what is allowed, shared among the candidates."""
        return (1 - self.rules.confidence) / 2 / self.n_candidates

    def _upper(self, one: int, other: int) -> float:
        """Upper end of the lead by the extrapolation: of each rate of the one over the best rate of the other."""
        arms, best = self._arms_of[one], self.best_arm(other)
        return max(self.forecast.quantile(arm, best, 1 - self._doubt / len(arms)) for arm in arms)

    def _may_drop(self, one: int, other: int) -> bool:
        """False where the extrapolation alone forbids it."""
        arms, best, least = self._arms_of[one], self.best_arm(other), self.rules.indifference
        return all(self.forecast.chance_above(arm, best, least) < self._doubt / len(arms) for arm in arms)

    def _item_reach(self, one: int, other: int) -> tuple[float, float]:
        """How far the mean over the items' population may be below and above that over the items, in points."""
        difference = paired(*(self.arms[self.best_arm(place)].looks[-1] for place in (one, other)))
        alpha = share_of_look((1 - self.rules.confidence) / 2, self.look) / max(1, self.n_candidates - 1)
        mean, rows = float(difference.mean()), difference[None, :]
        below, above = lower_bounds(rows, alpha)[0], upper_bounds(rows, alpha)[0]
        return 100 * (mean - float(below)), 100 * (float(above) - mean)


def arms_of(runners: Sequence[Runner], rules: RaceRules) -> list[Arm]:
    """All arms with looks."""
    return [
        Arm(base, rate, tuple(runner.looks[rate]), runner.is_in and rate in runner.rates)
        for base, runner in enumerate(runners)
        for rate in rules.rates
        if runner.looks[rate] and rate not in runner.failures
    ]


def forecast_of(runners: Sequence[Runner], arms: Sequence[Arm], rules: RaceRules, seed: int) -> Forecast:
    """The forecast of the arms. A prior is of the rate of a candidate that is ahead so far."""
    full = math.log2(rules.rungs[-1] / rules.rungs[0])
    priors: dict[int, Candidate] = {}
    for base, runner in enumerate(runners):
        own = [place for place, arm in enumerate(arms) if arm.base == base]
        if runner.candidate.prior_mean is not None and own:
            priors[max(own, key=lambda place: arms[place].looks[-1].accuracy)] = runner.candidate
    return forecast(
        points_of(runners, rules),
        Arms(np.array([arm.base for arm in arms]), np.array([rules.rates.index(arm.rate) for arm in arms])),
        full,
        Priors(
            likeness([runner.candidate for runner in runners]),
            np.array(list(priors), dtype=np.intp),
            np.array([one.prior_mean for one in priors.values()], dtype=float),
            np.array([one.prior_sd for one in priors.values()], dtype=float),
        ),
        rules.draws,
        seed,
    )
