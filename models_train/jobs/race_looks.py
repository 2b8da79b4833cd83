"""Looks of a race: a base model is trained up to a rung and scored on the items that decide, and the look is written.

A look that is there is read. The state of a training is in `<home>/training/races/<name>/`, so that the next rung goes
on where the last one ended; it is removed with the candidate or rate that is dropped.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models_train.errors import UserError
from models_train.files import remove
from models_train.jobs.training_job import beside_others
from models_train.metering import default_device, measure
from models_train.parts import is_whole, part_path, part_rows, write_part
from models_train.race.rules import Look, Work
from models_train.reward_benchmarks.items import Item
from models_train.reward_benchmarks.sets import load_named
from models_train.reward_models.checkpoints import saved_step
from models_train.reward_models.distributed import Processes
from models_train.reward_models.model import RewardModel
from models_train.reward_models.scoring import OK, score_items
from models_train.reward_models.search import SearchSetup, run_name, set_up
from models_train.reward_models.training import TrainingRun
from models_train.reward_models.validation import TrainingFailed, Validation
from models_train.store import Place, parts_of
from models_train.study.race_ids import RacePlan, look_run_id, training_id
from models_train.study.settings import MOST
from warehouse.contracts.races import RACE_LOOKS
from warehouse.contracts.scores import MERGED, REWARD

SECONDS_BETWEEN_STATES = 600.0
"""Longest training without a saved state, in seconds, as far as the speed of the steps before tells."""
FEWEST_ITEMS = 200
"""Items that every look scores, where there are as many."""
_SCORED_PER_SHARE = 4
"""Share of the items that a look scores, over the share of the training data at its rung."""
_DIGITS = {0.0: "0", 0.5: "1", 1.0: "2"}

OnStep = Callable[[Mapping[str, Any]], None]
Row = dict[str, Any]


@dataclass(frozen=True)
class Rungs:
    """Rungs of a race. steps, n_examples, n_items: of each, ascending; the last is the whole recipe."""

    steps: tuple[int, ...]
    n_examples: tuple[int, ...]
    n_items: tuple[int, ...]

    def steps_of(self, n_examples: int, run: TrainingRun) -> int:
        """Steps of a run up to a rung; at the last rung all of its own."""
        place = self.n_examples.index(n_examples)
        return run.n_steps if place == len(self.steps) - 1 else min(self.steps[place], run.n_steps)


def rungs_of(plan: RacePlan, n_steps: int, n_examples: int, n_items: int) -> Rungs:
    """The rungs that a study asks for, each at least a step after the one before. n_steps, n_examples: of the recipe
    with the candidate of the fewest, an epoch's; n_items: all that decide."""
    batch = plan.training.recipe(plan.objective).global_batch
    steps = [*sorted({max(1, round(share * n_steps)) for share in plan.settings.rungs} - {n_steps}), n_steps]
    per_epoch = -(-n_examples // batch)

    def examples(step: int) -> int:
        epochs, rest = divmod(step, per_epoch)
        return epochs * n_examples + rest * batch

    items = [min(n_items, max(FEWEST_ITEMS, math.ceil(_SCORED_PER_SHARE * n_items * step / n_steps))) for step in steps]
    return Rungs(tuple(steps), tuple(map(examples, steps)), (*items[:-1], n_items))


class Looks:
    """Makes the looks of a race, and keeps them. on_step: called with the row of every training step."""

    def __init__(
        self, plan: RacePlan, path: Path, home: Path, processes: Processes, say: Callable[[str], None]
    ) -> None:
        self.plan, self.path, self.home = plan, path, home
        self._processes, self._say = processes, say
        self._setup: tuple[str, SearchSetup] | None = None
        self.on_step: OnStep = lambda row: None

    @cached_property
    def items(self) -> list[Item]:
        """The items that decide, in the race's random order. Raises UserError where fewer than two can."""
        benchmark = load_named(self.plan.study, self.plan.benchmark, self.path.parent)
        found = [item for item in benchmark.items.values() if _decides(item)]
        if len(found) < 2:
            raise UserError(
                f"{self.path}: the benchmark {benchmark.name} has {len(found)} items with the texts of a right and a "
                "wrong completion, and a race is decided by two or more; give it more, or name another as race.decides"
            )
        return sorted(found, key=lambda item: hashlib.sha256(_order(self.plan.settings.seed, item).encode()).digest())

    @cached_property
    def rungs(self) -> Rungs:
        """The rungs, from the data of every candidate, all of which are read. Raises UserError with the problems of all
        candidates that cannot be trained."""
        found, problems = [], []
        for name in self.plan.candidates:
            self._say(f"{name}: reading data and base model")
            try:
                setup = self._setup_of(name)
            except UserError as error:
                problems.append(str(error))
                continue
            self._say(f"{name}: {setup.plan.describe()}")
            n = len(setup.data.train.examples)
            found.append((setup.recipe.epochs * -(-n // setup.recipe.global_batch), n))
        if problems:
            remedy = "correct that, or list the candidates that race under race.candidates"
            raise UserError("\n".join([*problems, f"{self.path}: nothing was trained; {remedy}"]))
        return rungs_of(self.plan, *min(found), len(self.items))

    def row(self, work: Work) -> Row:
        """The row of a look; made, where it is not there."""
        run_id = self.run_id(work)
        if self.is_there(work):
            (row,) = part_rows(self._part(run_id))
            return row
        row = self._make(work) | {"look_id": run_id}
        write_part(parts_of(self.home), RACE_LOOKS, [row], study_id=self.plan.study.study_id, run_id=run_id)
        return row

    def is_there(self, work: Work) -> bool:
        """Whether a look was made before."""
        return is_whole(self._part(self.run_id(work)))

    def _part(self, run_id: str) -> Path | Place:
        return part_path(parts_of(self.home), RACE_LOOKS.name, self.plan.study.study_id, run_id)

    def steps_left(self, work: Work) -> int:
        """Steps from the saved state of a training to a look."""
        begun = saved_step(self._folder(work.model_id, work.learning_rate))
        return max(0, self.rungs.steps[self.rungs.n_examples.index(work.n_examples)] - begun)

    def run_id(self, work: Work) -> str:
        """Run id of a look."""
        last = work.n_examples == self.rungs.n_examples[-1]
        n = MOST if last else work.n_examples  # the last rung is the whole recipe, whatever other candidates have
        return look_run_id(self.plan, work.model_id, work.learning_rate, n, work.n_items, self.path.parent)

    def forget(self, model_id: str, learning_rate: float) -> None:
        """Remove the state of a training that nothing goes on from."""
        remove(self._folder(model_id, learning_rate))

    def _folder(self, model_id: str, learning_rate: float) -> Path:
        return self.home / "training" / "races" / training_id(self.plan, model_id, learning_rate, self.path.parent)

    def _setup_of(self, model_id: str) -> SearchSetup:
        """Data and memory plan of a candidate; those of one at a time are in memory."""
        if self._setup is None or self._setup[0] != model_id:
            self._setup = None
            plan, optimizer = self.plan, None
            for rate in plan.rates:  # one that goes on keeps its optimizer, perhaps on another device
                settings = self._folder(model_id, rate) / "run.json"
                if settings.is_file():
                    optimizer = json.loads(settings.read_text())["optimizer"]
            model, folder = plan.models[model_id], self.path.parent
            self._setup = model_id, set_up(model, plan.training, plan.objective, folder, self._processes, optimizer)
        return self._setup[1]

    def _make(self, work: Work) -> Row:
        setup = self._setup_of(work.model_id)
        name = f"{work.model_id} at {run_name(work.learning_rate, self.plan.settings.seed)}"
        with beside_others(self.home, lambda text: self._say(f"{name}: {text}"), setup.alone):
            run = self._run(setup, work)
            before, target = self._before(work, run), self.rungs.steps_of(work.n_examples, run)
            failure, scored = None, _Scored()
            with measure(default_device()) as training:
                try:
                    self._train(run, target)
                    scored = self._score(setup, run, work)
                except TrainingFailed as error:
                    failure = str(error)
            trained = run.costs
            run.release()
        peaks = [peak for peak in (training.costs.peak_memory_bytes, scored.peak_memory_bytes) if peak is not None]
        steps = [row for row in run.steps if row["step"] > before["n_steps"]]
        return {
            "model_id": work.model_id,
            "objective": self.plan.objective,
            "benchmark": self.plan.benchmark,
            "learning_rate": work.learning_rate,
            "seed": self.plan.settings.seed,
            "n_examples": work.n_examples,
            "n_steps": run.step,
            "n_tokens": trained.n_tokens,
            "n_item_tokens": scored.n_tokens,
            "n_items": work.n_items,
            "outcomes": scored.outcomes,
            "accuracy": scored.accuracy,
            "train_loss": float(np.mean([row["loss"] for row in steps])) if steps else None,
            "failure": failure,
            "training_seconds": trained.device_seconds,
            "device_seconds": trained.device_seconds - before["training_seconds"] + scored.seconds,
            "device": trained.device,
            "n_devices": trained.n_devices,
            "is_gpu": trained.is_gpu,
            "peak_memory_bytes": max(peaks, default=None),
            "versions": trained.versions,
        }

    def _run(self, setup: SearchSetup, work: Work) -> TrainingRun:
        data, seed = setup.data, self.plan.settings.seed
        ratings = None if data.validation_ratings is None else data.validation_ratings.examples
        # No checkpoint but the last: the rungs are looked at instead.
        recipe = setup.recipe.model_copy(update={"checkpoint_every": MOST, "learning_rates": (work.learning_rate,)})
        return TrainingRun(
            lambda: setup.untrained_model(seed, torch.float32),
            data.train.examples,
            recipe,
            objective=setup.objective,
            learning_rate=work.learning_rate,
            seed=seed,
            folder=self._folder(work.model_id, work.learning_rate),
            plan=setup.plan,
            evaluate=Validation(data.validation.examples, ratings, setup.plan.tokens_per_pack),
            on_step=lambda row: self.on_step(row),
        )

    def _before(self, work: Work, run: TrainingRun) -> Row:
        """Steps and seconds of the training that earlier looks have counted; none of a state that was removed."""
        nothing: Row = {"n_steps": 0, "training_seconds": 0.0}
        if run.step == 0:
            return nothing
        for place in reversed(range(self.rungs.n_examples.index(work.n_examples))):
            earlier = replace(work, n_examples=self.rungs.n_examples[place], n_items=self.rungs.n_items[place])
            if self.is_there(earlier):
                row = self.row(earlier)
                return row if row["training_seconds"] <= run.costs.device_seconds else nothing
        return nothing

    def _train(self, run: TrainingRun, target: int) -> None:
        """Train up to a step, with a saved state about every SECONDS_BETWEEN_STATES."""
        while run.step < target:
            taken = run.steps[-20:]
            seconds = np.mean([row["seconds"] for row in taken]) if taken else 1.0
            run.advance(min(target, run.step + max(1, int(SECONDS_BETWEEN_STATES / max(seconds, 1e-3)))))

    def _score(self, setup: SearchSetup, run: TrainingRun, work: Work) -> _Scored:
        """Outcomes of the items. Raises TrainingFailed where none can be scored."""
        if run.step == run.n_steps:
            run.release()
            model = run.best_model().to(default_device())
        else:
            model = run.model_now()
        items = self.items[: work.n_items]
        with measure(default_device()) as meter, torch.no_grad():
            weights = self._merge_weights(setup, model)
            rows = score_items(
                model,
                setup.renderer,
                items,
                weights,
                setup.plan.tokens_per_pack,
                lambda _, n_tokens: meter.add_tokens(n_tokens),
            )
        if all(row["status"] != OK for row in rows):
            raise TrainingFailed(f"no item could be scored; the first: {rows[0]['status']}")
        won, costs = won_items(items, rows, MERGED if weights else REWARD), meter.costs
        outcomes = "".join(_DIGITS[one] for one in won)
        return _Scored(outcomes, float(np.mean(won)), costs.n_tokens, costs.device_seconds, costs.peak_memory_bytes)

    def _merge_weights(self, setup: SearchSetup, model: RewardModel) -> dict[str, float] | None:
        """Weights of the attributes that win most validation pairs here; None of one output."""
        if setup.objective != "regression":
            return None
        found = Validation(setup.data.validation.examples, (), setup.plan.tokens_per_pack)(model)
        return dict(zip(model.attributes, found["weights"], strict=True))


@dataclass(frozen=True)
class _Scored:
    """Outcomes of a look. accuracy: share won; None without outcomes."""

    outcomes: str = ""
    accuracy: float | None = None
    n_tokens: int = 0
    seconds: float = 0.0
    peak_memory_bytes: int | None = None


def won_items(items: Sequence[Item], rows: Sequence[Mapping[str, Any]], attribute: str) -> list[float]:
    """1 for each item whose best right completion has a higher reward than every wrong one, 1/2 for a tie, else 0; also
    0 for an item with a completion that cannot be scored. rows: of `score_items`; attribute: that decides."""
    rewards = {
        (row["subset"], row["item_id"], row["completion"]): row["reward"]
        for row in rows
        if row["attribute"] == attribute
    }
    won = []
    for item in items:
        of = {one: rewards[(*item.key, one.name)] for one in item.completions}
        if any(reward is None for reward in of.values()):
            won.append(0.0)
            continue
        right = max(reward for one, reward in of.items() if one.is_correct)
        wrong = max(reward for one, reward in of.items() if not one.is_correct)
        won.append(0.5 if right == wrong else float(right > wrong))
    return won


def look_of(row: Mapping[str, Any]) -> Look:
    """The look of a row of race_looks."""
    return Look(
        model_id=row["model_id"],
        learning_rate=row["learning_rate"],
        n_examples=row["n_examples"],
        n_tokens=row["n_tokens"],
        n_items_tokens=row["n_item_tokens"],
        device_seconds=row["device_seconds"],
        won=np.array([int(digit) for digit in row["outcomes"]], dtype=float) / 2,
        train_loss=row["train_loss"],
        failure=row["failure"],
    )


def _decides(item: Item) -> bool:
    """Whether the texts of an item are known, with a right and a wrong completion."""
    kinds = {one.is_correct for one in item.completions if one.text is not None}
    return item.prompt is not None and kinds == {True, False} and all(one.text is not None for one in item.completions)


def _order(seed: int, item: Item) -> str:
    return json.dumps([seed, item.subset, item.item_id])
