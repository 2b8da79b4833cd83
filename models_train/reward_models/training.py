"""One training run of a reward model: a readable loop over global batches that survives being killed at any moment.

A run is a folder. `run.json` says what is trained, `journal.jsonl` what happened, `state-*.safetensors` is the newest
saved state and `weights-*.safetensors` the best checkpoint so far. Opened again, a run goes on from its state and
follows the same loss curve, bit for bit on the same machine with the same number of threads and the same plan: data
order and rate are functions of the step, there is no dropout, and everything that a step changes is in the state.
"""

from __future__ import annotations

import gc
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import torch
import torch.utils.deterministic

from models_train.metering import Costs, device_name, library_versions, peak_memory_bytes
from models_train.reward_models.batches import DataOrder, n_tokens
from models_train.reward_models.distributed import current_processes
from models_train.reward_models.gradients import add_gradient
from models_train.reward_models.memory import MemoryPlan, MemoryPlanError
from models_train.reward_models.model import RewardModel
from models_train.reward_models.objectives import Example
from models_train.reward_models.run_folder import Checkpoint, RunFolder, run_settings
from models_train.reward_models.search import ArmFailed, Evaluation
from models_train.reward_models.training_state import TrainingState
from models_train.study.settings import Objective
from models_train.study.training import Recipe

Evaluate = Callable[[RewardModel], Mapping[str, Any]]


class TrainingRun:
    """One learning rate and seed of a search; an `Arm` of `learning_rate_search`.

    load_model: brings the RewardModel in float32 with the seed's head; called when training begins or goes on.
    examples: `TokenPair`s or `TokenRating`s. evaluate: called at every checkpoint (each `recipe.checkpoint_every` steps
    and the last one) without gradients; what it returns can be written as JSON and holds `n_won`, `n_pairs` and `loss`
    (of the validation examples, or None), and whatever else is to be kept; an ArmFailed that it raises ends the run.
    The best checkpoint is the first by `Evaluation.order`; its weights stay on disk. folder: the run's own. on_step:
    called with every row of `steps`. Under torchrun every process makes the same run, and the folder is shared.
    Raises RunFolderError where the folder holds another run.
    """

    def __init__(
        self,
        load_model: Callable[[], RewardModel],
        examples: Sequence[Example],
        recipe: Recipe,
        *,
        objective: Objective,
        learning_rate: float,
        seed: int,
        folder: Path,
        plan: MemoryPlan,
        evaluate: Evaluate,
        on_step: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> None:
        self.learning_rate = learning_rate
        self.seed = seed
        self.recipe = recipe
        self.plan = plan
        self.order = DataOrder(len(examples), recipe.global_batch, recipe.epochs, seed)
        self._load_model, self._examples = load_model, examples
        self._evaluate, self._on_step = evaluate, on_step
        self._processes = current_processes()
        settings = run_settings(objective, recipe, learning_rate, seed, plan, examples)
        self.folder = RunFolder(folder, settings, self._processes)
        self._state: TrainingState | None = None

    @property
    def n_steps(self) -> int:
        """Steps of the whole recipe."""
        return self.order.n_steps

    @property
    def step(self) -> int:
        """Steps taken so far."""
        return self.folder.step

    @property
    def failure(self) -> str | None:
        """Why the run cannot go on; None where it can, or has ended well."""
        return self.folder.failure

    @property
    def steps(self) -> list[dict[str, Any]]:
        """One row per step taken: step, loss, gradient_norm, learning_rate, n_examples, n_tokens, seconds."""
        return self.folder.journal.rows("step", self.step)

    def checkpoints(self) -> list[Checkpoint]:
        """Every evaluated step so far, ascending."""
        return self.folder.checkpoints()

    def evaluations(self) -> list[Evaluation]:
        """Every evaluated step so far, as the search compares them."""
        return [checkpoint.standing for checkpoint in self.checkpoints()]

    @property
    def costs(self) -> Costs:
        """Of the whole run; work that was lost and done again is in the seconds."""
        journal, device = self.folder.journal, self._processes.device
        return Costs(
            n_tokens=sum(row["n_tokens"] for row in self.steps),
            device_seconds=journal.total("seconds") * self._processes.n,
            device=device_name(device),
            n_devices=self._processes.n,
            is_gpu=device.type == "cuda",
            peak_memory_bytes=journal.largest("peak_memory_bytes"),
            versions=library_versions(),
        )

    def advance(self, to_step: int) -> None:
        """Train on to a step, at most the last; nothing to do where it is there. Raises ArmFailed.

        The state is saved at the end, and at checkpoints as far as saving stays a small share of the time.
        """
        to_step = min(to_step, self.n_steps)
        if self.failure is not None:
            raise ArmFailed(self.failure)
        if self.step >= to_step:
            return
        try:
            with _deterministic():
                self._train(self._opened(), to_step)
        except torch.OutOfMemoryError as error:
            self.release()
            raise MemoryPlanError(
                f"a device ran out of memory, though the plan was to fit ({self.plan.describe()}): set a smaller "
                "tokens_per_pack in the study, or stop what else runs on the device"
            ) from error
        except BaseException:
            self.release()  # a step that was broken off leaves half of the weights changed
            raise

    def release(self) -> None:
        """Free the model's memory; `advance` goes on from the saved state."""
        self._state = None
        gc.collect()
        if self._processes.device.type == "cuda":
            torch.cuda.empty_cache()
        self.folder.reopen()

    def best_model(self) -> RewardModel:
        """The best checkpoint so far on the CPU, in the precision of training. Raises RunFolderError without one."""
        model = self._load_model()
        self.folder.load_best(model)
        return model

    def _opened(self) -> TrainingState:
        if self._state is None:
            self._state = TrainingState(self._load_model, self.recipe, self.plan, self._processes)
            self.folder.load_state(self._state)
        return self._state

    def _train(self, state: TrainingState, to_step: int) -> None:
        while self.step < to_step:
            self._take_step(state, self.step + 1)
            if self.step % self.recipe.checkpoint_every == 0 or self.step == self.n_steps:
                self._make_checkpoint(state)
        self.folder.save_state(state, at_once=True)

    def _take_step(self, state: TrainingState, step: int) -> None:
        """One optimizer step: the mean loss of the global batch, summed up pack by pack."""
        began = time.perf_counter()
        rate = self.learning_rate * min(1.0, step / max(1, self.recipe.warmup_steps))
        examples = [self._examples[index] for index in self.order.batch(step)]
        state.begin_step(rate)
        loss = float(add_gradient(state.model, examples, self.plan.tokens_per_pack, self._processes))
        norm = state.masters.gradient_norm()
        if not (math.isfinite(loss) and math.isfinite(norm)):
            self._fail(self._not_finite(step, loss))
        state.masters.step(state.optimizer, norm, self.recipe.max_gradient_norm)
        row = {
            "step": step,
            "loss": loss,
            "gradient_norm": float(norm),
            "learning_rate": rate,
            "n_examples": len(examples),
            "n_tokens": sum(n_tokens(example) for example in examples),
            "seconds": time.perf_counter() - began,
        }
        self.folder.took_step(row)
        if self._on_step is not None:
            self._on_step(row)

    def _make_checkpoint(self, state: TrainingState) -> None:
        began = time.perf_counter()
        state.model.module.eval()
        try:
            with torch.no_grad():
                evaluation = self._evaluate(state.model)
        except ArmFailed as error:
            self._fail(f"step {self.step}: {error}")
        seconds = time.perf_counter() - began
        peak = peak_memory_bytes(self._processes.device)
        costs = {"seconds": seconds, "peak_memory_bytes": peak}
        self.folder.add_checkpoint(state, evaluation, costs, is_last=self.step == self.n_steps)

    def _not_finite(self, step: int, loss: float) -> str:
        what = f"the loss is {loss}" if not math.isfinite(loss) else "the gradient holds NaN or infinity"
        return (
            f"{what} at step {step} of {self.n_steps} (learning rate {self.learning_rate:g}, seed {self.seed}): the "
            "training diverged, or the base model's numbers leave the range of the precision; take a smaller rate"
        )

    def _fail(self, reason: str) -> NoReturn:
        """End the run where it stands, for good."""
        self.folder.save_state(None, at_once=True)
        self.folder.fail(reason)
        raise ArmFailed(reason)


@contextmanager
def _deterministic() -> Iterator[None]:
    """Deterministic kernels, so that a resumed run repeats every bit; those that have none say so and run."""
    settings: Any = torch.utils.deterministic
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    filled = settings.fill_uninitialized_memory
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    settings.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        settings.fill_uninitialized_memory = filled
