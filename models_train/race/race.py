"""The race itself: looks in, work and decisions out (definitions, Section 15).

    race = Race(candidates, rules)
    while work := race.next():
        for one in work:
            race.tell(look_at(one))
    race.answer

A batch of work is independent: its looks may come in any order. The same looks give the same state:
that is how a killed race goes on.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from models_train.errors import UserError, close_match
from models_train.race.looks import Costs, Runner, census_cost, check, expected_cost, spent
from models_train.race.rules import Answer, Candidate, Decision, Kind, Look, RaceRules, Reason, Standing, Work
from models_train.race.verdicts import Arm, Comparison, Lead


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
        self._ask(self._first(self._runners.values()))

    @property
    def reason(self) -> Reason | None:
        """Why the race has ended; None while it goes on."""
        return self._reason

    def next(self) -> tuple[Work, ...]:
        """The work of this round that has no look yet; empty once the race has ended."""
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
                f"look at {look.model_id}, rate {look.learning_rate:g}, {look.n_examples} examples: the race does not "
                f"ask for it now; {hint}"
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

        To be called between rounds (before any look of the batch), and at the same place when a race goes on.
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
        self._ask((*self._batch, *self._first([runner])))

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
        equal = tuple(one.model_id for one in standings if not one.is_told_apart)
        chance, within = float(chances[winner]), float(compared.within[winner])
        text = _sentence(standings[0].model_id, equal[1:], chance, within, self._reason, self.rules)
        return Answer(standings[0].model_id, chance, within, equal, text=text, standings=tuple(standings), **found)

    @property
    def costs(self) -> Costs:
        """Cost of all looks so far."""
        return spent(list(self._runners.values()), self._failed)

    def _ask(self, batch: tuple[Work, ...]) -> None:
        self._batch, self._open = batch, set(batch)

    def _first(self, runners: Iterable[Runner]) -> tuple[Work, ...]:
        rungs, items = self.rules.rungs, self.rules.n_items
        return tuple(Work(one.model_id, rate, rungs[0], items[0]) for one in runners for rate in one.rates)

    def _decide(self) -> None:
        """End of a round."""
        self._round += 1
        for runner in self._runners.values():
            self._drop_failures(runner)
        seen = [runner for runner in self._runners.values() if any(runner.looks[rate] for rate in runner.rates)]
        self._compared = None
        if not seen:
            return self._end("none_left", "no candidate could be trained")
        compared = self._compared = Comparison(seen, self.rules, len(self._runners), self._round)
        if not compared.alive:
            return self._end("none_left", "no candidate is left")
        for place, other, lead in list(compared.drops()):
            self._drop(compared, place, other, lead)
        for arm, best, chance in list(compared.rate_drops()):
            self._drop_rate(seen[arm.base], arm, best, chance)
        if not self._ended(compared):
            self._go_on(compared)

    def _drop_failures(self, runner: Runner) -> None:
        for rate in [rate for rate in runner.rates if rate in runner.failures]:
            runner.rates.remove(rate)
            self._note(runner, "drop_rate", f"failed: {runner.failures[rate]}", learning_rate=rate)
            if not runner.rates:
                runner.dropped = "failed"
                self._note(runner, "drop", "no learning rate is left: all failed or are dropped")

    def _drop_rate(self, runner: Runner, arm: Arm, best: Arm, chance: float) -> None:
        if not runner.is_in:
            return
        runner.rates.remove(arm.rate)
        one, other = arm.looks[-1], best.looks[-1]
        text = (
            f"{one.accuracy:.1f} % of the items after {one.n_examples} examples, {other.accuracy:.1f} % after "
            f"{other.n_examples} with rate {best.rate:g}: its best rate with probability {100 * chance:.1f} %"
        )
        self._note(runner, "drop_rate", text, learning_rate=arm.rate)

    def _drop(self, compared: Comparison, place: int, other: int, lead: Lead) -> None:
        runner, better = compared.runners[place], compared.runners[other].model_id
        if lead.upper < 0:
            text = f"{better} is better beyond doubt, by {-lead.upper:.1f} points or more at the full data"
        else:
            text = (
                f"beyond doubt not better than {better} by {self.rules.indifference:g} points, and no cheaper to serve"
            )
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
        elif not any(self._can_go_on(compared, arm) for arm in compared.arms):
            self._end("not_told_apart", "the rest are trained to the end and cannot be told apart")
        return self._reason is not None

    def _has_curves(self, compared: Comparison) -> bool:
        """Two rungs of two candidates at least: a curve is known by more than its beginning."""
        most = sorted((compared.runners[place].n_rungs for place in compared.alive), reverse=True)
        return most[1] >= min(2, len(self.rules.rungs))

    def _go_on(self, compared: Comparison) -> None:
        """Plan the next round, as far as the budget goes."""
        left = math.inf if self.rules.budget is None else self.rules.budget - self._in_unit(self.costs)
        steps = {arm: self._step_cost(compared, arm) for arm in compared.arms if self._can_go_on(compared, arm)}
        affordable = {arm: cost for arm, cost in steps.items() if cost <= left}
        chosen: list[Arm] = []
        for arm in compared.worth(affordable) if affordable else []:
            if steps[arm] <= left:
                left -= steps[arm]
                chosen.append(arm)
        if not chosen:
            return self._end("budget", "the budget does not reach for a further look")
        self._note_plan(compared, {arm.base for arm in chosen})
        chosen.sort(key=compared.arms.index)
        rungs, items = self.rules.rungs, self.rules.n_items
        places = [len(arm.looks) for arm in chosen]
        return self._ask(
            tuple(
                Work(compared.runners[arm.base].model_id, arm.rate, rungs[place], items[place])
                for arm, place in zip(chosen, places, strict=True)
            )
        )

    def _note_plan(self, compared: Comparison, going: set[int]) -> None:
        """Rows of the candidates that go on, and of those that wait."""
        leader = compared.leader()
        for place in compared.alive:
            text = f"best with probability {100 * compared.chances[place]:.0f} %"
            if place not in going:
                text += "; a look at others tells more per token"
            lead = vars(compared.lead(place, leader)) | {"against": compared.runners[leader].model_id}
            self._note(
                compared.runners[place],
                "keep" if place in going else "wait",
                text,
                probability_best=float(compared.chances[place]),
                **(lead if place != leader else {}),
            )

    def _can_go_on(self, compared: Comparison, arm: Arm) -> bool:
        runner = compared.runners[arm.base]
        return runner.is_in and arm.rate in runner.rates and len(arm.looks) < len(self.rules.rungs)

    def _step_cost(self, compared: Comparison, arm: Arm) -> float:
        """Expected cost of the next rung of an arm in the unit of the budget."""
        rung, rungs = len(arm.looks), self.rules.rungs
        runner = compared.runners[arm.base]
        return self._in_unit(expected_cost(runner, rungs[rung - 1], rungs[rung], self.rules.n_items[rung]))

    def _in_unit(self, costs: Costs) -> float:
        return costs.tokens if self.rules.unit == "tokens" else costs.device_seconds

    def _end(self, reason: Reason, text: str) -> None:
        self._reason = reason
        self._ask(())
        for runner in self._runners.values():
            if runner.is_in:
                self._note(runner, "end", text)

    def _note(self, runner: Runner, decision: Kind, reason: str, **values: Any) -> None:
        costs = self.costs
        self.decisions.append(
            Decision(
                self._round,
                runner.model_id,
                decision,
                reason,
                n_examples=runner.n_examples,
                n_looks=self._n_looks,
                tokens=costs.tokens,
                device_seconds=costs.device_seconds,
                **values,
            )
        )

    def _failures(self) -> list[str]:
        return [f"{one.model_id}: {reason}" for one in self._runners.values() for reason in one.failures.values()]


def _standing(compared: Comparison, place: int, winner: int, chance: float) -> Standing:
    runner, lead = compared.runners[place], compared.lead(place, winner)
    return Standing(
        runner.model_id,
        lead.estimate,
        lead.lower,
        lead.upper,
        chance,
        n_examples=runner.n_examples,
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
