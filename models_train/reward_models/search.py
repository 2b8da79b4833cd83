"""Search for learning rate, seed and checkpoint of a reward model: its set-up, and the grid or successive halving.

A trial is one training run: a rate and a seed. Successive halving (Jamieson and Talwalkar 2016, "Non-stochastic best
arm identification and hyperparameter optimization", AISTATS) trains every rate to the first rung and takes the best on
to the next. After warm-up the rate is constant, so a rung is an exact prefix of the full run and nothing is trained
twice. Two rules differ from that paper:
- Rates are promoted by the lowest validation loss so far. After a tenth of the steps accuracies differ by less than
  their standard error, while the loss weighs every pair by its margin. The end is decided by accuracy, as in the grid.
- The first promotion takes the best of every group of neighbouring rates: a short prefix favours high rates, whatever
  the end will be, and neighbours end alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from models_train.data.chat import Renderer, RenderError
from models_train.errors import UserError
from models_train.machine import WORKERS, gib, workers
from models_train.modeling.base_models import (
    ModelSource,
    context_length,
    load_config,
    load_tokenizer,
    model_source,
)
from models_train.reward_models.classifiers import refuse_without_classifier
from models_train.reward_models.data import SearchData, load_search_data
from models_train.reward_models.distributed import Processes
from models_train.reward_models.export import portable_tokenizer
from models_train.reward_models.memory import (
    PROCESS_BYTES,
    Machine,
    MemoryPlan,
    OptimizerKind,
    machine_of,
    model_shape,
    plan_memory,
)
from models_train.reward_models.model import RewardModel, n_outputs
from models_train.reward_models.training import TrainingRun
from models_train.reward_models.validation import (
    Choice,
    Evaluation,
    Evaluations,
    TrainingFailed,
    Validation,
    choose,
    rank,
)
from models_train.study.models import StudyModel
from models_train.study.settings import Objective
from models_train.study.training import RateSearch, Recipe, Training

OnStep = Callable[[str, Mapping[str, Any]], None]
"""Called with a run's name and the row of a step."""
Failures = dict[tuple[float, int], str]
"""Reasons of the failed trials that the search has come to."""


class Trial(Protocol):
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
        """Train on to a step, evaluating every checkpoint; nothing where it is there. Raises TrainingFailed."""

    def release(self) -> None:
        """Free the memory; `advance` goes on from what is on disk."""

    def evaluations(self) -> Sequence[Evaluation]:
        """Evaluations of every checkpoint so far, by step."""


@dataclass(frozen=True)
class TrialOutcome:
    """End of a trial. status stopped: by successive halving. reason: None for a finished one."""

    trial: Trial
    status: Literal["finished", "stopped", "failed"]
    reason: str | None


@dataclass(frozen=True)
class SearchOutcome:
    """Result of a search; choice is None, with the reason, where every trial failed."""

    trials: tuple[TrialOutcome, ...]
    choice: Choice | None
    reason: str | None
    n_steps: int
    n_steps_full_grid: int


@dataclass(frozen=True)
class SearchSetup:
    """A search about to begin, or to go on."""

    objective: Objective
    training: Training
    source: ModelSource
    tokenizer: PreTrainedTokenizerBase
    renderer: Renderer
    data: SearchData
    plan: MemoryPlan
    alone: bool
    """True where the plan needs the memory that other jobs would have at the same time."""

    @property
    def recipe(self) -> Recipe:
        """Recipe of the objective."""
        return self.training.recipe(self.objective)

    def untrained_model(self, seed: int, dtype: torch.dtype) -> RewardModel:
        """The base model with a new head, on the CPU."""
        return RewardModel.from_base(self.source, n_outputs(self.objective), seed, dtype)

    def runs(self, folder: Path, on_step: OnStep) -> list[TrainingRun]:
        """One run per rate and seed, in folders below `folder`. Raises RunFolderError."""
        ratings = self.data.validation_ratings
        validation = Validation(
            self.data.validation.examples, None if ratings is None else ratings.examples, self.plan.tokens_per_pack
        )
        return [
            self._run(folder, rate, seed, validation, on_step)
            for rate in self.recipe.learning_rates
            for seed in self.training.search.seeds
        ]

    def _run(self, folder: Path, rate: float, seed: int, validation: Validation, on_step: OnStep) -> TrainingRun:
        name = run_name(rate, seed)
        return TrainingRun(
            lambda: self.untrained_model(seed, torch.float32),
            self.data.train.examples,
            self.recipe,
            objective=self.objective,
            learning_rate=rate,
            seed=seed,
            folder=folder / name,
            plan=self.plan,
            evaluate=validation,
            on_step=lambda row: on_step(name, row),
        )


def set_up(
    model: StudyModel,
    training: Training,
    objective: Objective,
    study_folder: Path,
    processes: Processes,
    optimizer: OptimizerKind | None = None,
) -> SearchSetup:
    """Load tokenizer and data, and plan the memory; the base model is checked before the data are read.

    optimizer: of a search that goes on, perhaps on other devices; None for one that begins.

    Raises LocationError, RenderError, UserError.
    """
    source = model_source(model, study_folder)
    config, tokenizer = load_config(source), load_tokenizer(source)
    refuse_without_classifier(source.name, config, remote_code=source.remote_code)
    try:
        portable_tokenizer(tokenizer, config)
    except RenderError as error:
        raise RenderError(f"{source.name}: a test conversation cannot be rendered: {error}") from error
    dtype = torch.bfloat16 if training.precision == "bfloat16" else torch.float32
    try:
        shape = model_shape(config, n_outputs(objective), dtype)
    except UserError as error:
        raise UserError(f"{source.name}: {error}") from error
    recipe = training.recipe(objective)
    renderer = Renderer(tokenizer, recipe.max_tokens, recipe.over_long, context_length(config), training.thoughts)
    data = load_search_data(training, objective, study_folder, renderer)
    _refuse_unknown_tokens(source, data, int(config.get_text_config().vocab_size))

    def planned(machine: Machine) -> MemoryPlan:
        return plan_memory(
            shape,
            precision=training.precision,
            device_bytes=machine.device_bytes,
            host_bytes=machine.host_bytes,
            longest_example=data.longest_example,
            longest_sequence=data.longest_sequence,
            tokens_per_pack=training.tokens_per_pack,
            device_type=machine.device_type,
            optimizer=optimizer,
        )

    try:
        plan, alone = shared_plan(planned, processes)
    except UserError as error:
        raise UserError(f"{source.name}: {error}") from error
    return SearchSetup(objective, training, source, tokenizer, renderer, data, plan, alone)


def shared_plan(planned: Callable[[Machine], MemoryPlan], processes: Processes) -> tuple[MemoryPlan, bool]:
    """The plan within the job's share of the machine, where that optimizes as the whole machine would; else the plan
    for all that jobs which wait leave, and True: such a job is at work alone. Raises UserError where not even that
    fits."""
    machine = machine_of(processes)
    if machine.device_type != "cpu":
        return planned(machine), False
    own = f"there are {machine.limit.describe()}, and each job needs {gib(PROCESS_BYTES)} for libraries and data"
    try:
        by_itself = planned(machine)
    except UserError as error:
        raise UserError(f"{error}; {own}") from error
    n_jobs = workers() if processes.n == 1 else 1
    if n_jobs == 1:
        return by_itself, False
    try:
        whole = planned(machine_of(processes, n_waiting=n_jobs - 1))
    except UserError as error:
        raise UserError(
            f"training needs {gib(by_itself.memory.device)} and does not fit beside a job that waits: {own}, "
            f"also while it waits; set {WORKERS}=1"
        ) from error
    try:
        share = planned(machine_of(processes, n_jobs))
    except UserError:
        return whole, True
    return (share, False) if share.optimizer == whole.optimizer else (whole, True)


def search(
    trials: Sequence[Trial], settings: RateSearch, checkpoint_every: int, say: Callable[[str], None] = lambda text: None
) -> SearchOutcome:
    """Train the trials as the settings demand, and choose.

    trials: every rate with every seed. say: called with a line for every rung. An interrupted search is repeated from
    the start, and its trials go on from their saved states. It takes the same way: an evaluation or failure from before
    the interruption counts only once the search has come to that step again.
    """
    rates = sorted({trial.learning_rate for trial in trials})
    failures: Failures = {}
    reached = {_key(trial): 0 for trial in trials}
    candidates = rates
    for place, (n_rates, step) in enumerate(rungs(trials[0].n_steps, len(rates), settings, checkpoint_every)):
        while pool := _alive(trials, candidates, failures) or _alive(trials, rates, failures):
            known = {_key(trial): _up_to(trial, reached[_key(trial)], failures) for trial in trials}
            entrants = _promoted(pool, known, n_rates, by_neighbourhood=place == 1)
            say(f"{len(entrants)} of {len(rates)} learning rates to step {step}: {_named(entrants)}")
            for trial in trials:
                if trial.learning_rate in entrants and _key(trial) not in failures:
                    reached[_key(trial)] = step
                    _advance(trial, step, failures)
            if _alive(trials, entrants, failures):
                candidates = entrants
                break
    return _outcome(trials, failures)


def rungs(n_steps: int, n_rates: int, settings: RateSearch, checkpoint_every: int) -> list[tuple[int, int]]:
    """Rates that take part in each rung, and the step that it ends at.

    n_steps: of one trial. A rung ends at the checkpoint nearest to its share of the steps, at least at the first:
    promotion needs an evaluation. Fewer rates are kept, from the last rung up, where the budget demands it.
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
    """Steps of a search in which no trial fails; n_steps: of one trial."""
    counts, ends = zip(*rungs(n_steps, n_rates, settings, checkpoint_every), strict=True)
    return len(settings.seeds) * _cost(counts, ends)


def run_name(learning_rate: float, seed: int) -> str:
    """Name of a training run, such as `5e-07-s0`."""
    return f"{learning_rate!r}-s{seed}"


def _cost(counts: Sequence[int], ends: Sequence[int]) -> int:
    return sum(n * (end - begin) for n, begin, end in zip(counts, (0, *ends), ends, strict=False))


def _promoted(pool: Sequence[float], known: Evaluations, n_rates: int, *, by_neighbourhood: bool) -> list[float]:
    """The best of the pool; or the best of each of n groups of neighbours in it."""
    ranking = [rate for rate in rank(known, by_loss=True) if rate in pool]
    if not by_neighbourhood:
        return ranking[:n_rates]
    groups = np.array_split(sorted(pool), min(n_rates, len(pool)))
    return [next(rate for rate in ranking if rate in group) for group in groups]


def _advance(trial: Trial, to_step: int, failures: Failures) -> None:
    """Train to a step; not at all where the trial has come further, so that no later failure is met."""
    if trial.step < to_step:
        try:
            trial.advance(to_step)
        except TrainingFailed as error:
            failures[_key(trial)] = str(error)
        trial.release()
    if _key(trial) not in failures and not trial.evaluations():
        failures[_key(trial)] = f"no checkpoint was evaluated up to step {to_step}"


def _finalists(trials: Sequence[Trial], failures: Failures) -> list[Trial]:
    """Trials of the rates that came to the end with at least one seed; failed seeds of such rates are among them."""
    ended = {trial.learning_rate for trial in trials if trial.step >= trial.n_steps and _key(trial) not in failures}
    return [trial for trial in trials if trial.learning_rate in ended]


def _outcome(trials: Sequence[Trial], failures: Failures) -> SearchOutcome:
    choice = choose({_key(trial): _up_to(trial, trial.n_steps, failures) for trial in _finalists(trials, failures)})
    reason = None
    if choice is None:
        first = next(iter(failures.values()), "there are none")
        reason = f"no training run of {len(trials)} ended well; the first: {first}"
    return SearchOutcome(
        tuple(_trial_outcome(trial, failures.get(_key(trial))) for trial in trials),
        choice,
        reason,
        sum(trial.step for trial in trials),
        sum(trial.n_steps for trial in trials),
    )


def _trial_outcome(trial: Trial, failure: str | None) -> TrialOutcome:
    if failure is not None:
        return TrialOutcome(trial, "failed", failure)
    if trial.step < trial.n_steps:
        return TrialOutcome(
            trial, "stopped", f"stopped at step {trial.step} of {trial.n_steps}: other rates were ahead"
        )
    return TrialOutcome(trial, "finished", None)


def _up_to(trial: Trial, step: int, failures: Failures) -> Sequence[Evaluation]:
    """Evaluations up to a step; none of a trial that failed."""
    return () if _key(trial) in failures else [one for one in trial.evaluations() if one.step <= step]


def _alive(trials: Sequence[Trial], rates: Sequence[float], failures: Failures) -> list[float]:
    """The rates with at least one seed that did not fail."""
    alive = {trial.learning_rate for trial in trials if _key(trial) not in failures}
    return [rate for rate in rates if rate in alive]


def _key(trial: Trial) -> tuple[float, int]:
    return trial.learning_rate, trial.seed


def _named(rates: Sequence[float]) -> str:
    return ", ".join(f"{rate:g}" for rate in sorted(rates))


def _refuse_unknown_tokens(source: ModelSource, data: SearchData, n_rows: int) -> None:
    """A GPU does not survive an id outside of the embedding."""
    largest = data.largest_token
    if largest >= n_rows:
        raise UserError(
            f"{source.name}: its tokenizer gives token {largest}, but the model's vocabulary has {n_rows} rows; "
            "tokenizer and weights do not belong together"
        )
