"""The rate search on trials with known learning curves: what it trains, what it chooses, and failed trials."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from models_train.reward_models.search import SearchOutcome, planned_steps, rungs, search
from models_train.reward_models.validation import Evaluation, TrainingFailed, choose
from models_train.study.training import BRADLEY_TERRY_RATES, RateSearch

EVERY, N_STEPS, N_PAIRS = 5, 60, 1000
HALVING = RateSearch(method="successive_halving")
EXHAUSTIVE = RateSearch()


@dataclass
class CurveTrial:
    """A trial whose checkpoint at a step wins `curve(step)` pairs; it dies at step `fails_at`, for good.

    loss: of every checkpoint; by default the share of pairs lost. `interrupt_at` stops the process between checkpoints,
    once; what is kept is what is on disk: the last checkpoint.
    """

    learning_rate: float
    seed: int
    curve: Callable[[int], int]
    loss: Callable[[int], float | None] | None = None
    fails_at: int | None = None
    n_steps: int = N_STEPS
    interrupt_at: int | None = None
    step: int = 0
    found: list[Evaluation] = field(default_factory=list)
    steps_worked: int = 0
    failure: str | None = None
    n_released: int = 0

    def advance(self, to_step: int) -> None:
        if self.failure:
            raise TrainingFailed(self.failure)
        while self.step < to_step:
            if self.fails_at is not None and self.step >= self.fails_at:
                self.failure = f"step {self.step}: the loss is nan"
                raise TrainingFailed(self.failure)
            target = min(self.step + EVERY, self.n_steps)
            if self.interrupt_at is not None and self.interrupt_at <= target:
                self.steps_worked += self.interrupt_at - self.step
                self.interrupt_at = None
                raise KeyboardInterrupt
            self.steps_worked += target - self.step
            self.step = target
            n_won = self.curve(target)
            loss = self.loss(target) if self.loss else 1 - n_won / N_PAIRS
            self.found.append(Evaluation(target, n_won, N_PAIRS, loss))

    def release(self) -> None:
        self.n_released += 1

    def evaluations(self) -> Sequence[Evaluation]:
        return self.found


def rising(top: float) -> Callable[[int], int]:
    return lambda step: round(top * (1 - 0.5 ** (step / 10)))


def random_trials(
    seed: int, rates: Sequence[float] = BRADLEY_TERRY_RATES, seeds: Sequence[int] = (0,)
) -> list[CurveTrial]:
    """Noisy curves around a best rate, as training has them."""
    generator = np.random.default_rng(seed)
    trials = []
    for rate in rates:
        for one in seeds:
            curve = 500 + np.cumsum(generator.normal(8, 15, N_STEPS // EVERY)).round().astype(int)
            trials.append(CurveTrial(rate, one, lambda step, curve=curve: int(curve[step // EVERY - 1])))  # type: ignore[misc]
    return trials


def summary(outcome: SearchOutcome) -> tuple[object, ...]:
    return outcome.choice, [(one.status, one.reason, one.trial.step) for one in outcome.trials], outcome.n_steps


def test_exhaustive_trains_everything_and_takes_the_best_checkpoint() -> None:
    peaked = CurveTrial(2e-6, 0, lambda step: 700 if step == 35 else 600)
    trials = [CurveTrial(1e-6, 0, rising(650)), peaked, CurveTrial(3e-6, 0, rising(690))]
    outcome = search(trials, EXHAUSTIVE, EVERY)
    assert outcome.choice is not None
    assert (outcome.choice.learning_rate, outcome.choice.seed, outcome.choice.evaluation.step) == (2e-6, 0, 35)
    assert outcome.choice.evaluation.accuracy == 0.7
    assert [one.status for one in outcome.trials] == ["finished"] * 3
    assert outcome.n_steps == outcome.n_steps_full_grid == 3 * N_STEPS


STOPS = [5, 5, 25, 5, 5, 25, 5, 60, 5, 60]
"""Of ten rates of which every one is better than the one before: 10 to step 5, the best of 4 groups of neighbours (the
third, sixth, eighth and tenth) to step 25, the best 2 to the end."""


def test_halving_trains_prefixes_of_the_best_rates() -> None:
    trials = [CurveTrial(rate, 0, rising(500 + 10 * place)) for place, rate in enumerate(BRADLEY_TERRY_RATES)]
    said: list[str] = []
    outcome = search(trials, HALVING, EVERY, said.append)
    assert [trial.step for trial in trials] == STOPS
    assert [one.status for one in outcome.trials] == ["finished" if step == 60 else "stopped" for step in STOPS]
    assert outcome.trials[0].reason == "stopped at step 5 of 60: other rates were ahead"
    assert outcome.choice is not None and outcome.choice.learning_rate == 5e-6
    assert outcome.n_steps == sum(STOPS) == sum(trial.steps_worked for trial in trials)
    assert outcome.n_steps == planned_steps(N_STEPS, 10, HALVING, EVERY)
    assert [trial.n_released for trial in trials] == [{5: 1, 25: 2, 60: 3}[step] for step in STOPS]
    assert said[1] == "4 of 10 learning rates to step 25: 7e-07, 1e-06, 3e-06, 5e-06"


def test_rates_are_promoted_by_loss_and_chosen_by_accuracy() -> None:
    """Rates that win more pairs early but have the higher loss are stopped; the end is decided by pairs won."""
    trials = [
        CurveTrial(rate, 0, rising(600 - place), loss=lambda step, place=place: 0.7 - place / 100)  # type: ignore[misc]
        for place, rate in enumerate(BRADLEY_TERRY_RATES)
    ]
    outcome = search(trials, HALVING, EVERY)
    assert [trial.step for trial in trials] == STOPS
    assert outcome.choice is not None and outcome.choice.learning_rate == BRADLEY_TERRY_RATES[-3]


def test_without_a_loss_rates_are_promoted_by_accuracy() -> None:
    trials = [
        CurveTrial(rate, 0, rising(500 + 10 * place), loss=lambda step: None)
        for place, rate in enumerate(BRADLEY_TERRY_RATES)
    ]
    search(trials, HALVING, EVERY)
    assert [trial.step for trial in trials] == STOPS


@pytest.mark.parametrize(
    ("n_steps", "every", "expected"),
    [
        (60, 5, [(10, 5), (4, 25), (2, 60)]),
        (636, 20, [(10, 60), (4, 260), (2, 636)]),  # two epochs of HelpSteer2
        (105, 20, [(10, 20), (4, 40), (1, 105)]),  # one of HelpSteer2-Preference: a checkpoint is a fifth of it
        (7, 20, [(10, 7), (1, 7), (1, 7)]),  # no checkpoint before the end: all are trained to it
    ],
)
def test_rungs_end_at_checkpoints_and_keep_the_budget(
    n_steps: int, every: int, expected: list[tuple[int, int]]
) -> None:
    assert rungs(n_steps, 10, HALVING, every) == expected
    if n_steps > every:
        assert planned_steps(n_steps, 10, HALVING, every) <= 0.35 * 10 * n_steps


def test_a_smaller_budget_keeps_fewer() -> None:
    tight = RateSearch(method="successive_halving", budget=0.25)
    assert rungs(60, 10, tight, 5) == [(10, 5), (3, 25), (1, 60)]
    assert rungs(60, 10, EXHAUSTIVE, 5) == [(10, 60)]


@pytest.mark.parametrize("seed", range(20))
def test_the_choice_is_among_those_that_came_to_the_end(seed: int) -> None:
    trials = random_trials(seed, seeds=(0, 1))
    outcome = search(trials, RateSearch(method="successive_halving", seeds=(0, 1)), EVERY)
    finished = {(trial.learning_rate, trial.seed): trial.found for trial in trials if trial.step == N_STEPS}
    assert len(finished) == 4
    assert outcome.choice == choose(finished)


def test_a_rate_stands_for_the_mean_over_its_seeds_and_then_its_best_checkpoint() -> None:
    trials = [
        CurveTrial(1e-6, 0, rising(700)),
        CurveTrial(1e-6, 1, rising(500)),
        CurveTrial(2e-6, 0, rising(620)),
        CurveTrial(2e-6, 1, rising(640)),
    ]
    choice = search(trials, RateSearch(seeds=(0, 1)), EVERY).choice
    assert choice is not None and (choice.learning_rate, choice.seed) == (2e-6, 1)


def test_ties_go_to_the_lower_loss_then_the_smaller_rate_then_the_earlier_step() -> None:
    def flat(_: int) -> int:
        return 600

    def chosen(*losses: float) -> tuple[float, int]:
        trials = [
            CurveTrial(rate, 0, flat, loss=lambda step, loss=loss: loss)  # type: ignore[misc]
            for rate, loss in zip((3e-6, 1e-6, 2e-6), losses, strict=True)
        ]
        choice = search(trials, EXHAUSTIVE, EVERY).choice
        assert choice is not None
        return choice.learning_rate, choice.evaluation.step

    assert chosen(0.5, 0.6, 0.6) == (3e-6, EVERY)
    assert chosen(0.5, 0.5, 0.5) == (1e-6, EVERY)


def test_a_failed_trial_is_a_row_and_never_chosen() -> None:
    trials = [CurveTrial(1e-6, 0, rising(600)), CurveTrial(2e-6, 0, rising(900), fails_at=30)]
    outcome = search(trials, EXHAUSTIVE, EVERY)
    assert outcome.choice is not None and outcome.choice.learning_rate == 1e-6
    assert [(one.status, one.reason) for one in outcome.trials] == [
        ("finished", None),
        ("failed", "step 30: the loss is nan"),
    ]
    assert outcome.n_steps == 90


def test_a_rate_with_a_failed_seed_is_not_preferred_for_its_lucky_one() -> None:
    trials = [
        CurveTrial(1e-6, 0, rising(600)),
        CurveTrial(1e-6, 1, rising(600)),
        CurveTrial(2e-6, 0, rising(900)),
        CurveTrial(2e-6, 1, rising(900), fails_at=10),
    ]
    choice = search(trials, RateSearch(seeds=(0, 1)), EVERY).choice
    assert choice is not None and choice.learning_rate == 1e-6


def test_where_all_that_were_promoted_fail_the_next_best_go_on() -> None:
    """First those that were promoted before, then those that were stopped earlier."""
    trials = [CurveTrial(rate, 0, rising(500 + 10 * place)) for place, rate in enumerate(BRADLEY_TERRY_RATES)]
    for place in (7, 9):
        trials[place].fails_at = 40
    outcome = search(trials, HALVING, EVERY)
    assert outcome.choice is not None and outcome.choice.learning_rate == BRADLEY_TERRY_RATES[5]
    assert [trial.step for trial in trials] == [5, 5, 60, 5, 5, 60, 5, 40, 5, 40]
    for place in (2, 5):
        trials[place].fails_at = 40
    for trial in trials:
        trial.step, trial.failure, trial.found = 0, None, []
    outcome = search(trials, HALVING, EVERY)
    assert [trial.step for trial in trials] == [5, 5, 40, 5, 5, 40, 60, 40, 60, 40]


def test_all_failed_is_a_failed_search_with_the_reason() -> None:
    trials = [CurveTrial(rate, 0, rising(600), fails_at=0) for rate in (1e-6, 2e-6)]
    outcome = search(trials, HALVING, EVERY)
    assert outcome.choice is None
    assert outcome.reason == "no training run of 2 ended well; the first: step 0: the loss is nan"


@pytest.mark.parametrize("seed", range(30))
def test_an_interrupted_search_ends_alike_and_repeats_no_checkpoint(seed: int) -> None:
    generator = np.random.default_rng(100 + seed)
    settings = RateSearch(method="successive_halving", seeds=(0, 1))
    calm, trials = random_trials(seed, seeds=(0, 1)), random_trials(seed, seeds=(0, 1))
    for one, trial in zip(calm, trials, strict=True):
        one.fails_at = trial.fails_at = int(generator.integers(1, 2 * N_STEPS))
        trial.interrupt_at = int(generator.integers(1, N_STEPS))
    undisturbed = summary(search(calm, settings, EVERY))
    n_interrupts, outcome = 0, None
    while outcome is None:
        try:
            outcome = search(trials, settings, EVERY)
        except KeyboardInterrupt:
            n_interrupts += 1
    assert n_interrupts > 0
    assert summary(outcome) == undisturbed
    assert sum(trial.steps_worked for trial in trials) <= outcome.n_steps + n_interrupts * EVERY
