"""One training run of a reward model: a readable loop over global batches that survives being killed at any moment.

A run is a folder. `run.json` holds its settings, `journal.jsonl` its log, `state-*` the newest saved state and
`weights-*` the best checkpoint so far. Opened again, a run goes on from its state and follows the same loss curve, bit
for bit on the same machine with the same number of threads and the same plan: data order and rate are functions of the
step, there is no dropout, and everything that a step changes is in the state.
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
from torch.distributed.device_mesh import init_device_mesh
from transformers.modeling_layers import GradientCheckpointingLayer

from models_train.errors import UserError
from models_train.metering import Costs, device_name, library_versions, peak_memory_bytes
from models_train.modeling.packing import pack
from models_train.reward_models.checkpoints import Checkpoint, RunFolder, load_tensors, run_settings
from models_train.reward_models.data import DataOrder, Example, TrainingPack, n_tokens, training_packs
from models_train.reward_models.distributed import (
    Processes,
    current_processes,
    shard,
    sharded_as,
    shares,
)
from models_train.reward_models.memory import MemoryPlan
from models_train.reward_models.model import RewardModel, example_losses
from models_train.reward_models.optimizer import MasterWeights, adamw, moments_of, set_step
from models_train.reward_models.validation import Evaluation, TrainingFailed
from models_train.study.settings import Objective
from models_train.study.training import Recipe

MASTER = "master"
"""Kind of the float32 weights in a saved state; the other kinds are the optimizer's."""
_CLASSIFIER = "classifier."
Evaluate = Callable[[RewardModel], Mapping[str, Any]]


class TrainingRun:
    """One learning rate and seed of a search; a `Trial` of `search`.

    load_model: brings the RewardModel in float32 with the seed's head; called when training begins or goes on.
    examples: `TokenPair`s or `TokenRating`s. evaluate: called at every checkpoint (each `recipe.checkpoint_every` steps
    and the last one) without gradients; its result can be written as JSON and holds `n_won`, `n_pairs` and `loss`
    (of the validation examples, or None), and other values to be kept. A TrainingFailed that it raises ends the run.
    The best checkpoint is the first by `Evaluation.order`; its weights stay on disk. folder: the run's own. on_step:
    called with every row of `steps`. Under torchrun every process makes the same run, and the folder is shared.
    Raises UserError where the folder holds another run.
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
        """Reason of a failed run; None for a run that can go on or has finished."""
        return self.folder.failure

    @property
    def steps(self) -> list[dict[str, Any]]:
        """One row per step taken: step, loss, gradient_norm, learning_rate, n_examples, n_tokens, seconds."""
        return self.folder.log.rows("step", self.step)

    def checkpoints(self) -> list[Checkpoint]:
        """Every evaluated step so far, ascending."""
        return self.folder.checkpoints()

    def evaluations(self) -> list[Evaluation]:
        """Every evaluated step so far, as the search compares them."""
        return [checkpoint.standing for checkpoint in self.checkpoints()]

    @property
    def costs(self) -> Costs:
        """Costs of the whole run; the seconds include work that was lost and repeated."""
        log, device = self.folder.log, self._processes.device
        return Costs(
            n_tokens=sum(row["n_tokens"] for row in self.steps),
            device_seconds=log.total("seconds") * self._processes.n,
            device=device_name(device),
            n_devices=self._processes.n,
            is_gpu=device.type == "cuda",
            peak_memory_bytes=log.largest("peak_memory_bytes"),
            versions=library_versions(),
        )

    def advance(self, to_step: int) -> None:
        """Train on to a step, at most the last; nothing to do where it is there. Raises TrainingFailed.

        The state is saved at the end, and at checkpoints as far as saving stays a small share of the time.
        """
        to_step = min(to_step, self.n_steps)
        if self.failure is not None:
            raise TrainingFailed(self.failure)
        if self.step >= to_step:
            return
        try:
            with _deterministic():
                self._train(self._opened(), to_step)
        except torch.OutOfMemoryError as error:
            self.release()
            raise UserError(
                f"a device ran out of memory, though the plan was to fit ({self.plan.describe()}): set a smaller "
                "tokens_per_pack in the study, or stop other programs on the device"
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

    def model_now(self) -> RewardModel:
        """The reward model after the steps taken so far, on its device, to be read only.

        Raises UserError after the last step, from which nothing goes on: `best_model` has it.
        """
        return self._opened().model

    def best_model(self) -> RewardModel:
        """The best checkpoint so far on the CPU, in the precision of training. Raises UserError without one."""
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
        except TrainingFailed as error:
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
        """End the run at this step, for good."""
        self.folder.save_state(None, at_once=True)
        self.folder.fail(reason)
        raise TrainingFailed(reason)


class TrainingState:
    """A model in training.

    load_model: brings the model in float32 with its head. The module stays in evaluation mode, also with gradient
    checkpointing: there is no dropout, so the loss of an example is a function of only the weights. Raises
    UserError where the family has no gradient checkpointing and the plan needs it.
    """

    def __init__(
        self, load_model: Callable[[], RewardModel], recipe: Recipe, plan: MemoryPlan, processes: Processes
    ) -> None:
        dtype = torch.bfloat16 if plan.precision == "bfloat16" else torch.float32
        on_host = plan.optimizer == "adamw_offloaded"
        self._dtype = dtype
        self._processes = processes
        self._host_mesh = init_device_mesh("cpu", (processes.n,)) if on_host and processes.n > 1 else None
        self.model = _prepared(load_model, plan, processes, dtype)
        head = self.model.head.weight
        self.masters = MasterWeights(
            self.model.module, dtype, processes.device, on_host=on_host, excepted=lambda weight: weight is head
        )
        self.optimizer = adamw(self.masters, recipe, plan.optimizer)
        self._checkpointed = [
            layer
            for layer in self.model.module.modules()
            if plan.gradient_checkpointing and isinstance(layer, GradientCheckpointingLayer)
        ]

    def begin_step(self, learning_rate: float) -> None:
        """Set the rate, and the modes that an evaluation may have changed."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.model.module.eval()
        for layer in self._checkpointed:
            layer.training = True

    def state_tensors(self) -> dict[str, torch.Tensor]:
        """Masters and moments, named `<kind>:<weight>`; everything that a later process needs to go on."""
        tensors: dict[str, torch.Tensor] = {}
        for name, master in self.masters.masters.items():
            found = {MASTER: master, **moments_of(self.optimizer, master)}
            tensors |= {
                f"{kind}:{name}": sharded_as(self.masters.weights[name], tensor.detach(), self._host_mesh)
                for kind, tensor in found.items()
            }
        return tensors

    def weight_tensors(self) -> dict[str, torch.Tensor]:
        """The weights that the model computes with now, by the classifier's names, in the precision of computing.

        Sharded weights are float32: they are rounded as they are when gathered for computing.
        """
        head = self.model.head.weight
        return {
            name.removeprefix(_CLASSIFIER): weight.detach().to(torch.float32 if weight is head else self._dtype)
            for name, weight in self.masters.weights.items()
        }

    def load(self, folder: Path, step: int) -> None:
        """Take over a saved state. Raises RuntimeError or ValueError where it is of another model."""
        # An optimizer makes its moments in its first step; this one changes nothing, at a rate of 0.
        self.masters.clear_gradients(to_zero=True)
        self.masters.step(self.optimizer, torch.tensor(1.0), None)
        load_tensors(folder, self.state_tensors(), self._processes)
        set_step(self.optimizer, step)
        self.masters.update_weights()


def add_gradient(
    model: RewardModel, examples: Sequence[Example], tokens_per_pack: int, processes: Processes
) -> torch.Tensor:
    """Add the gradient of the mean loss of a global batch to the weights'; returns that loss, a float64 scalar.

    examples: all of the batch, in every process. Each works on its share of the packs.
    """
    total = torch.zeros((), dtype=torch.float64, device=processes.device)
    for one in _own_packs(examples, tokens_per_pack, processes):
        total += _backward(model, one, len(examples), processes.n)
    return processes.total(total)


def _prepared(
    load_model: Callable[[], RewardModel],
    plan: MemoryPlan,
    processes: Processes,
    dtype: torch.dtype,
) -> RewardModel:
    mesh = init_device_mesh(processes.device.type, (processes.n,)) if processes.n > 1 else None

    def prepare() -> RewardModel:
        model = load_model()
        if plan.gradient_checkpointing:
            try:
                model.classifier.gradient_checkpointing_enable({"use_reentrant": False})
            except ValueError as error:
                raise UserError(
                    f"{type(model.classifier).__name__} cannot train with gradient checkpointing, which the memory "
                    f"there is demands: {error}"
                ) from error
        if mesh is not None:
            shard(model, mesh, dtype)
        return model

    return processes.in_turn(prepare)


def _own_packs(examples: Sequence[Example], tokens_per_pack: int, processes: Processes) -> list[TrainingPack]:
    """The packs that this process works on; all have as many, because sharded weights are gathered together.

    A process that would have fewer gets packs without examples, of one token: they add nothing.
    """
    if processes.n == 1:
        return training_packs(examples, tokens_per_pack)
    n_all = sum(n_tokens(example) for example in examples)
    packs = training_packs(examples, min(tokens_per_pack, -(-n_all // processes.n)))
    given = shares([len(one.pack.token_ids) for one in packs], processes.n)
    own = [packs[index] for index in given[processes.rank]]
    n_empty = max(len(indices) for indices in given) - len(own)
    return own + [TrainingPack((), pack([packs[0].pack.token_ids[:1].tolist()]))] * n_empty


def _backward(model: RewardModel, one: TrainingPack, n_examples: int, n_processes: int) -> torch.Tensor:
    """Add the gradient of a pack's part of the mean loss of the batch; returns that part."""
    rewards = model.rewards(one.pack)
    if not one.examples:
        (rewards.sum() * 0.0).backward()
        return torch.zeros((), device=rewards.device)
    loss = example_losses(rewards, one.examples).sum() / n_examples
    # FSDP2 averages gradients over the processes; the loss of a batch is a sum over them.
    (loss * n_processes).backward()
    return loss.detach()


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
