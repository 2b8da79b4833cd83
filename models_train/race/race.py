"""The race itself: looks in, work and decisions out (definitions, Section 15).

    race = Race(candidates, rules)
    while work := race.next():
        for one in work:
            race.tell(look_at(one))
    race.answer

A batch of work is independent: its looks may be told in any order. Told the same looks again, a race is in the same
state: that is how a killed race goes on.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from models_train.errors import UserError, close_match
from models_train.race.curves import Priors, forecast
from models_train.race.looks import (
    Costs,
    Runner,
    census_cost,
    check,
    expected_cost,
    likeness,
    points_of,
    spent,
    standing,
)
from models_train.race.rules import Answer, Candidate, Decision, Kind, Look, RaceRules, Reason, Standing, Work
from models_train.race.verdicts import Comparison, Lead


class Race:
    """A race between candidates. Raises UserError for candidates of one name, or fewer than two."""

    def __init__(self, candidates: Sequence[Candidate], rules: RaceRules) -> None:
        names = [one.model_id for one in candidates]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise UserError(f"candidates of the race: {', '.join(twice)} is there more than once; name each once")
        if len(candidates) < 2:
            raise UserError("candidates of the race: a race needs two or more; add base models")
        self.rules = rules
        self.decisions: list[Decision] = []
        self._runners = {one.model_id: Runner(one, rules.rates) for one in candidates}
        self._failed: list[Look] = []
        self._round = self._n_looks = 0
        self._reason: Reason | None = None
        self._compared: Comparison | None = None
        self._ask(self._steps(self._runners.values()))

    @property
    def reason(self) -> Reason | None:
        """Why the race has ended; None while it goes on."""
        return self._reason

    def next(self) -> tuple[Work, ...]:
        """The work of this round that is not told yet; empty once the race has ended."""
        return tuple(one for one in self._batch if one in self._open)

    def tell(self, look: Look) -> None:
        """Take in a look that `next` asks for. Raises UserError for any other, or one that cannot be used."""
        key = (look.model_id, look.learning_rate, look.n_examples)
        work = next((one for one in self._open if (one.model_id, one.learning_rate, one.n_examples) == key), None)
        if work is None:
            hint = "tell the looks in the order in which the race asked for them"
            if look.model_id not in self._runners:
                hint = close_match(look.model_id, self._runners)
            raise UserError(
                f"look at {look.model_id}, rate {look.learning_rate:g}, {look.n_examples} examples: the race does not ask "
                f"for it now; {hint}"
            )
        check(look, self.rules)
        self._open.remove(work)
        self._n_looks += 1
        runner = self._runners[look.model_id]
        if look.failure is None:
            runner.looks[look.learning_rate].append(look)
        else:
            self._failed.append(look)
            runner.failures[look.learning_rate] = look.failure
        if not self._open:
            self._decide()

    def join(self, candidate: Candidate) -> None:
        """Let a further candidate in: it begins at the first rung and catches up as far as it is worth it.

        To be called between rounds (no look of the batch told yet), and at the same place when looks are told again.
        Raises UserError otherwise, and after the end.
        """
        where = f"candidate {candidate.model_id}"
        if candidate.model_id in self._runners:
            raise UserError(f"{where}: is in the race already")
        if self._reason is not None:
            raise UserError(f"{where}: the race has ended; begin another one with all candidates")
        if len(self._open) < len(self._batch):
            raise UserError(f"{where}: a round is under way; let it join after the round")
        runner = self._runners[candidate.model_id] = Runner(candidate, self.rules.rates)
        self._note(runner, "join", f"joins in round {self._round + 1}, at the first rung")
        self._ask((*self._batch, *self._steps([runner])))

    @property
    def answer(self) -> Answer:
        """What the race has found so far. Raises UserError before the end of the first round."""
        if self._round == 0:
            raise UserError("the race has no answer before its first round has ended")
        costs, census = self.costs, census_cost(list(self._runners.values()), self.rules)
        found: dict[str, Any] = {
            "reason": self._reason,
            "n_looks": self._n_looks,
            "trained_tokens": int(costs.trained),
            "scored_tokens": int(costs.scored),
            "device_seconds": costs.device_seconds,
            "census_trained_tokens": census.trained,
            "census_scored_tokens": census.scored,
            "census_device_seconds": census.device_seconds,
        }
        compared = self._compared
        if compared is None or not compared.alive:
            text = "No candidate could be trained: " + "; ".join(self._failures())
            return Answer(None, 0.0, 0.0, (), text=text, standings=(), **found)
        winner, chances = compared.winner(), compared.chances
        standings = [
            _standing(compared, place, winner, float(chances[place])) for place in range(len(compared.runners))
        ]
        standings.sort(key=lambda one: (one.model_id != compared.runners[winner].model_id, -one.estimate))
        equal = tuple(one.model_id for one in standings if not one.is_told_apart and not one.is_dropped)
        chance, within = float(chances[winner]), float(compared.within[winner])
        text = _sentence(standings[0].model_id, equal[1:], chance, within, self._reason, self.rules)
        return Answer(standings[0].model_id, chance, within, equal, text=text, standings=tuple(standings), **found)

    @property
    def costs(self) -> Costs:
        """Cost of all looks so far."""
        return spent(list(self._runners.values()), self._failed)

    def _ask(self, batch: tuple[Work, ...]) -> None:
        self._batch, self._open = batch, set(batch)

    def _steps(self, runners: Iterable[Runner]) -> tuple[Work, ...]:
        """The next rung of candidates, at all rates that go on."""
        rules = self.rules
        return tuple(
            Work(one.model_id, rate, rules.rungs[one.n_rungs], rules.n_items[one.n_rungs])
            for one in runners
            for rate in one.rates
        )

    def _decide(self) -> None:
        """End of a round."""
        self._round += 1
        for runner in dict.fromkeys(self._runners[work.model_id] for work in self._batch):
            self._drop_rates(runner)
        seen = [runner for runner in self._runners.values() if runner.n_rungs]
        self._compared = None
        if not seen:
            return self._end("none_left", "no candidate could be trained")
        points = points_of(seen, self.rules.rungs, self.rules.n_items[-1])
        full = math.log2(self.rules.rungs[-1] / self.rules.rungs[0])
        found = forecast(points, full, _priors(seen), self.rules.draws, self.rules.seed + self._round)
        compared = self._compared = Comparison(seen, found, self.rules, len(self._runners), self._round)
        if not compared.alive:
            return self._end("none_left", "no candidate is left")
        for place, other, lead in list(compared.drops()):
            self._drop(compared, place, other, lead)
        if not self._ended(compared):
            self._go_on(compared)

    def _drop_rates(self, runner: Runner) -> None:
        for rate in [rate for rate in runner.rates if rate in runner.failures]:
            runner.rates.remove(rate)
            self._note(runner, "drop_rate", f"failed: {runner.failures[rate]}", learning_rate=rate)
        if not runner.rates:
            runner.dropped = "failed"
            self._note(runner, "drop", "no learning rate is left: all failed")
            return
        rung = runner.n_rungs - 1
        ranked = sorted(runner.rates, key=lambda rate: standing(runner.looks[rate][rung]))
        kept, best = ranked[: self.rules.kept_rates(rung)], runner.looks[ranked[0]][rung]
        for rate in ranked[len(kept) :]:
            own = runner.looks[rate][rung]
            runner.rates.remove(rate)
            text = f"{own.accuracy:.1f} % of the items against {best.accuracy:.1f} % with rate {best.learning_rate:g}"
            self._note(runner, "drop_rate", text, learning_rate=rate, estimate=own.accuracy - best.accuracy)

    def _drop(self, compared: Comparison, place: int, other: int, lead: Lead) -> None:
        runner, better = compared.runners[place], compared.runners[other].model_id
        if lead.upper < 0:
            text = f"{better} is better beyond doubt, by {-lead.upper:.1f} points or more at the full data"
        else:
            text = f"it is not better than {better} by {self.rules.indifference:g} points, beyond doubt"
        runner.dropped = text
        self._note(runner, "drop", text, against=better, **vars(lead), probability_best=float(compared.chances[place]))

    def _ended(self, compared: Comparison) -> bool:
        """End the race where it is decided."""
        alive, rules = compared.alive, self.rules
        if len(alive) == 1:
            self._end("one_left", "every other candidate is dropped")
        elif compared.within[compared.winner()] >= rules.confidence and self._has_curves(compared):
            share = f"{100 * compared.within[compared.winner()]:.1f} %"
            self._end(
                "decided", f"nothing is better by more than {rules.indifference:g} points, with probability {share}"
            )
        elif all(compared.runners[place].n_rungs == len(rules.rungs) for place in alive):
            self._end("not_told_apart", "the rest are trained to the end and cannot be told apart")
        return self._reason is not None

    def _has_curves(self, compared: Comparison) -> bool:
        """Two rungs of two candidates at least, or all of them: a curve is known by more than its beginning."""
        most = sorted((compared.runners[place].n_rungs for place in compared.alive), reverse=True)
        return most[1] >= min(2, len(self.rules.rungs))

    def _go_on(self, compared: Comparison) -> None:
        """Plan the next round, as far as the budget goes."""
        left = math.inf if self.rules.budget is None else self.rules.budget - self._in_unit(self.costs)
        costs = [self._step_cost(runner) for runner in compared.runners]
        affordable = [cost if cost <= left else math.inf for cost in costs]
        chosen: list[int] = []
        for place in compared.worth(affordable) if np.isfinite(affordable).any() else []:
            if costs[place] <= left:
                left -= costs[place]
                chosen.append(place)
        if not chosen:
            return self._end("budget", "the budget does not reach for a further look")
        chances, leader = compared.chances, compared.leader()
        for place in compared.alive:
            goes_on, chance = place in chosen, f"{100 * chances[place]:.0f} %"
            text = f"best with probability {chance}" + (
                "" if goes_on else "; others promise more per token, or lead to learn"
            )
            lead = vars(compared.lead(place, leader)) | {"against": compared.runners[leader].model_id}
            self._note(
                compared.runners[place],
                "keep" if goes_on else "wait",
                text,
                probability_best=float(chances[place]),
                **(lead if place != leader else {}),
            )
        return self._ask(self._steps(compared.runners[place] for place in sorted(chosen)))

    def _step_cost(self, runner: Runner) -> float:
        """Expected cost of the next rung in the unit of the budget; infinite where there is none."""
        rung = runner.n_rungs
        if not runner.is_in or rung == len(self.rules.rungs):
            return math.inf
        begin, end = self.rules.rungs[rung - 1], self.rules.rungs[rung]
        return len(runner.rates) * self._in_unit(expected_cost(runner, begin, end, self.rules.n_items[rung]))

    def _in_unit(self, costs: Costs) -> float:
        return costs.tokens if self.rules.unit == "tokens" else costs.device_seconds

    def _end(self, reason: Reason, text: str) -> None:
        self._reason = reason
        self._ask(())
        for runner in self._runners.values():
            if runner.is_in:
                self._note(runner, "end", text)

    def _note(self, runner: Runner, decision: Kind, reason: str, **values: Any) -> None:
        costs, last = self.costs, runner.last()
        values = {"learning_rate": None if last is None else last.learning_rate} | values
        self.decisions.append(
            Decision(
                self._round,
                runner.model_id,
                decision,
                reason,
                n_examples=0 if last is None else last.n_examples,
                n_looks=self._n_looks,
                tokens=costs.tokens,
                device_seconds=costs.device_seconds,
                **values,
            )
        )

    def _failures(self) -> list[str]:
        return [f"{one.model_id}: {reason}" for one in self._runners.values() for reason in one.failures.values()]


def _priors(runners: Sequence[Runner]) -> Priors:
    candidates = [runner.candidate for runner in runners]
    values = [
        np.array([math.nan if value is None else value for value in column])
        for column in ([one.prior_mean for one in candidates], [one.prior_sd for one in candidates])
    ]
    return Priors(likeness(candidates), *values)


def _standing(compared: Comparison, place: int, winner: int, chance: float) -> Standing:
    runner, lead, last = compared.runners[place], compared.lead(place, winner), compared.runners[place].last()
    return Standing(
        runner.model_id,
        lead.estimate,
        lead.lower,
        lead.upper,
        chance,
        n_examples=0 if last is None else last.n_examples,
        is_dropped=not runner.is_in,
        is_told_apart=lead.upper < 0,
    )


def _sentence(
    winner: str, equal: Sequence[str], chance: float, within: float, reason: Reason | None, rules: RaceRules
) -> str:
    """The answer in one sentence, or two."""
    so_far = "" if reason is not None else "So far: "
    first = (
        f"{so_far}{winner} is the base to train: the best with probability {100 * chance:.0f} %, and within "
        f"{rules.indifference:g} points of the best with probability {100 * within:.0f} %."
    )
    if not equal:
        return f"{first} All others are shown to be worse."
    return f"{first} It cannot be told apart from {', '.join(equal)}."
