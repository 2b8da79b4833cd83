"""Which learning rate, seed and checkpoint become the reward model: the whole grid, or successive halving.

An arm is one training run: a rate and a seed. It stands for its best checkpoint (most validation pairs won, then lowest
validation loss, then earliest), a rate for the mean of that over its seeds; a seed that failed counts as winning
nothing, so that a rate which diverges now and then is not preferred for its lucky seeds. The rate with the highest mean
is chosen (then the lower mean loss, then the smaller rate), and of it the best checkpoint of all seeds.

Successive halving (Jamieson and Talwalkar 2016, "Non-stochastic best arm identification and hyperparameter
optimization", AISTATS) trains every rate to the first rung and takes the best on to the next. After warm-up the rate is
constant, so a rung is an exact prefix of the full run and nothing is trained twice. Two things are its own here:
- Rates are promoted by the lowest validation loss so far. After a tenth of the steps accuracies differ by less than
  their standard error, while the loss weighs every pair by its margin. The end is decided by accuracy, as in the grid.
- The first promotion takes the best of every group of neighbouring rates: a short prefix favours high rates, whatever
  the end will be, and neighbours end alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from models_train.study.training import RateSearch


class ArmFailed(RuntimeError):
    """A training run cannot go on, such as after a loss that is not finite. The message says where and why."""


@dataclass(frozen=True)
class Evaluation:
    """A checkpoint on the validation pairs. loss: of the objective on its validation examples, None without any."""

    step: int
    n_won: int
    n_pairs: int
    loss: float | None

    @property
    def accuracy(self) -> float:
        """Share of pairs won, 0 to 1."""
        return self.n_won / self.n_pairs

    @property
    def order(self) -> tuple[int, float, int]:
        """Smallest for the best: most pairs won, then lowest loss, then earliest."""
        return -self.n_won, float("inf") if self.loss is None else self.loss, self.step


class Arm(Protocol):
    """One training run as the search sees it. Its state and evaluations outlive the process."""

    @property
    def learning_rate(self) -> float:
        """Rate after warm-up."""

    @property
    def seed(self) -> int:
        """Seed of the head and of the data order."""

    @property
    def n_steps(self) -> int:
        """Steps of the whole recipe."""

    @property
    def step(self) -> int:
        """Steps taken so far."""

    def advance(self, to_step: int) -> None:
        """Train on to a step, evaluating every checkpoint; nothing where it is there. Raises ArmFailed."""

    def release(self) -> None:
        """Free the memory; `advance` goes on from what is on disk."""

    def evaluations(self) -> Sequence[Evaluation]:
        """Of every checkpoint so far, by step."""


@dataclass(frozen=True)
class Choice:
    """The checkpoint chosen."""

    learning_rate: float
    seed: int
    evaluation: Evaluation


@dataclass(frozen=True)
class ArmOutcome:
    """How an arm ended. status stopped: by successive halving. reason: None for a finished one."""

    arm: Arm
    status: Literal["finished", "stopped", "failed"]
    reason: str | None


@dataclass(frozen=True)
class SearchOutcome:
    """What a search found; choice is None, and reason says why, where every arm failed."""

    arms: tuple[ArmOutcome, ...]
    choice: Choice | None
    reason: str | None
    n_steps: int
    n_steps_full_grid: int


Evaluations = Mapping[tuple[float, int], Sequence[Evaluation]]
"""Of every arm (rate, seed); those of a failed arm are empty."""
Failures = dict[tuple[float, int], str]
"""Why an arm failed, as far as the search has seen."""


def search(
    arms: Sequence[Arm], settings: RateSearch, checkpoint_every: int, say: Callable[[str], None] = lambda text: None
) -> SearchOutcome:
    """Advance the arms as the settings say, and choose.

    arms: every rate with every seed. `say` is told of every rung. A search that was interrupted is simply made again:
    its arms know where they stand. It goes the same way, because it decides by nothing that lies ahead of it: what an
    arm evaluated, or how it failed, before the interruption counts only once the search has come there again.
    """
    rates = sorted({arm.learning_rate for arm in arms})
    failures: Failures = {}
    reached = {_key(arm): 0 for arm in arms}
    candidates = rates
    for place, (n_rates, step) in enumerate(rungs(arms[0].n_steps, len(rates), settings, checkpoint_every)):
        while pool := _alive(arms, candidates, failures) or _alive(arms, rates, failures):
            known = {_key(arm): _up_to(arm, reached[_key(arm)], failures) for arm in arms}
            entrants = _promoted(pool, known, n_rates, by_neighbourhood=place == 1)
            say(f"{len(entrants)} of {len(rates)} learning rates to step {step}: {_named(entrants)}")
            for arm in arms:
                if arm.learning_rate in entrants and _key(arm) not in failures:
                    reached[_key(arm)] = step
                    _advance(arm, step, failures)
            if _alive(arms, entrants, failures):
                candidates = entrants
                break
    return _outcome(arms, failures)


def rungs(n_steps: int, n_rates: int, settings: RateSearch, checkpoint_every: int) -> list[tuple[int, int]]:
    """Rates that take part in each rung, and the step that it ends at.

    n_steps: of one arm. A rung ends at the checkpoint nearest to its share of the steps, at least at the first: what is
    promoted by must be evaluated. Fewer rates are kept, from the last rung up, where the budget demands it.
    """
    if settings.method == "exhaustive":
        return [(n_rates, n_steps)]
    nearest = [checkpoint_every * max(1, round(share * n_steps / checkpoint_every)) for share in settings.rungs[:-1]]
    ends = [*(min(n_steps, step) for step in nearest), n_steps]
    counts = [max(1, round(n_rates * settings.keep**place)) for place in range(len(ends))]
    for place in reversed(range(1, len(ends))):
        while counts[place] > 1 and _cost(counts, ends) > settings.budget * n_rates * n_steps:
            counts[place] -= 1
    return list(zip(counts, ends, strict=True))


def planned_steps(n_steps: int, n_rates: int, settings: RateSearch, checkpoint_every: int) -> int:
    """Steps of a search in which no arm fails; n_steps: of one arm."""
    counts, ends = zip(*rungs(n_steps, n_rates, settings, checkpoint_every), strict=True)
    return len(settings.seeds) * _cost(counts, ends)


def _cost(counts: Sequence[int], ends: Sequence[int]) -> int:
    return sum(n * (end - begin) for n, begin, end in zip(counts, (0, *ends), ends, strict=False))


def _promoted(pool: Sequence[float], known: Evaluations, n_rates: int, *, by_neighbourhood: bool) -> list[float]:
    """The best of the pool; or the best of each of n groups of neighbours in it."""
    ranking = [rate for rate in rank(known, by_loss=True) if rate in pool]
    if not by_neighbourhood:
        return ranking[:n_rates]
    groups = np.array_split(sorted(pool), min(n_rates, len(pool)))
    return [next(rate for rate in ranking if rate in group) for group in groups]


def choose(evaluations: Evaluations) -> Choice | None:
    """The best checkpoint of the rate with the highest mean; None where no arm has an evaluation."""
    evaluated = {rate for (rate, _), found in evaluations.items() if found}
    rate = next((rate for rate in rank(evaluations) if rate in evaluated), None)
    if rate is None:
        return None
    best = {seed: min(found, key=_order) for (other, seed), found in evaluations.items() if other == rate and found}
    seed = min(best, key=lambda seed: (best[seed].order, seed))
    return Choice(rate, seed, best[seed])


def rank(evaluations: Evaluations, *, by_loss: bool = False) -> list[float]:
    """The rates, best first: by pairs won, or by the lowest loss where every evaluation has one.

    Wins are summed over seeds, not averaged: every rate has all seeds, and sums of whole numbers are exact.
    """
    every = [evaluation for found in evaluations.values() for evaluation in found]
    by_loss = by_loss and all(evaluation.loss is not None for evaluation in every)
    standing: dict[float, tuple[float, ...]] = {}
    for (rate, _), found in evaluations.items():
        n_lost, loss, _ = min(map(_order, found), default=(0, float("inf"), 0))
        lowest = min((_order(evaluation)[1] for evaluation in found), default=float("inf"))
        own = (lowest, n_lost) if by_loss else (n_lost, loss)
        before = standing.get(rate, (0, 0))
        standing[rate] = (before[0] + own[0], before[1] + own[1])
    return sorted(standing, key=lambda rate: (*standing[rate], rate))


def _order(evaluation: Evaluation) -> tuple[int, float, int]:
    return evaluation.order


def _advance(arm: Arm, to_step: int, failures: Failures) -> None:
    """Nothing where the arm is there: a failure that lies ahead must not be met."""
    if arm.step < to_step:
        try:
            arm.advance(to_step)
        except ArmFailed as error:
            failures[_key(arm)] = str(error)
        arm.release()
    if _key(arm) not in failures and not arm.evaluations():
        failures[_key(arm)] = f"no checkpoint was evaluated up to step {to_step}"


def _finalists(arms: Sequence[Arm], failures: Failures) -> list[Arm]:
    """Arms of the rates that came to the end with at least one seed; failed seeds of such rates are among them."""
    ended = {arm.learning_rate for arm in arms if arm.step >= arm.n_steps and _key(arm) not in failures}
    return [arm for arm in arms if arm.learning_rate in ended]


def _outcome(arms: Sequence[Arm], failures: Failures) -> SearchOutcome:
    choice = choose({_key(arm): _up_to(arm, arm.n_steps, failures) for arm in _finalists(arms, failures)})
    reason = None
    if choice is None:
        first = next(iter(failures.values()), "there are none")
        reason = f"no training run of {len(arms)} ended well; the first: {first}"
    return SearchOutcome(
        tuple(_arm_outcome(arm, failures.get(_key(arm))) for arm in arms),
        choice,
        reason,
        sum(arm.step for arm in arms),
        sum(arm.n_steps for arm in arms),
    )


def _arm_outcome(arm: Arm, failure: str | None) -> ArmOutcome:
    if failure is not None:
        return ArmOutcome(arm, "failed", failure)
    if arm.step < arm.n_steps:
        return ArmOutcome(arm, "stopped", f"stopped at step {arm.step} of {arm.n_steps}: other rates were ahead")
    return ArmOutcome(arm, "finished", None)


def _up_to(arm: Arm, step: int, failures: Failures) -> Sequence[Evaluation]:
    """Evaluations up to a step; none of an arm that failed."""
    return () if _key(arm) in failures else [one for one in arm.evaluations() if one.step <= step]


def _alive(arms: Sequence[Arm], rates: Sequence[float], failures: Failures) -> list[float]:
    """Of the rates those that have a seed which did not fail."""
    alive = {arm.learning_rate for arm in arms if _key(arm) not in failures}
    return [rate for rate in rates if rate in alive]


def _key(arm: Arm) -> tuple[float, int]:
    return arm.learning_rate, arm.seed


def _named(rates: Sequence[float]) -> str:
    return ", ".join(f"{rate:g}" for rate in sorted(rates))
