"""Everything that a training step changes: weights, masters and moments, from the base model or from a saved state."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor
from transformers.modeling_layers import GradientCheckpointingLayer

from models_train.modeling.base_models import BackboneError
from models_train.reward_models.adamw_8bit import AdamW8bit
from models_train.reward_models.distributed import Processes, local, shard, share_like, whole
from models_train.reward_models.master_weights import MasterWeights
from models_train.reward_models.memory import MemoryPlan
from models_train.reward_models.model import RewardModel
from models_train.reward_models.tensor_files import Source
from models_train.study.training import Recipe

MASTER = "master"
"""Kind of the float32 weights in a state file; others are the optimizer's. A tensor is named `<kind>:<weight>`."""
_CLASSIFIER = "classifier."

Sources = Mapping[str, tuple[torch.Size, torch.dtype, Source]]


class TrainingState:
    """A model in training.

    load_model: brings the model in float32 with its head. The module stays in evaluation mode, also with gradient
    checkpointing: there is no dropout, so the loss of an example is a function of the weights alone. Raises
    BackboneError where the family has no gradient checkpointing and the plan needs it.
    """

    def __init__(
        self, load_model: Callable[[], RewardModel], recipe: Recipe, plan: MemoryPlan, processes: Processes
    ) -> None:
        dtype = torch.bfloat16 if plan.precision == "bfloat16" else torch.float32
        on_host = plan.optimizer == "adamw_offloaded"
        self._dtype = dtype
        self.model = _prepared(load_model, plan, processes, dtype)
        head = self.model.head.weight
        self.masters = MasterWeights(
            self.model.module, dtype, processes.device, on_host=on_host, excepted=lambda weight: weight is head
        )
        self.optimizer = _optimizer(self.masters, recipe, plan)
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

    def sources(self) -> Sources:
        """Masters and moments, by kind and weight; what a later process needs to go on."""
        return {
            f"{kind}:{name}": _source(tensor, self.masters.weights[name], tensor.dtype)
            for name, kind, tensor in self._tensors()
        }

    def weight_sources(self) -> Sources:
        """The weights that the model computes with now, by the classifier's names, in the precision of computing.

        Sharded weights are float32: they are rounded as they are when gathered for computing.
        """
        head = self.model.head.weight
        return {
            name.removeprefix(_CLASSIFIER): _source(weight, weight, torch.float32 if weight is head else self._dtype)
            for name, weight in self.masters.weights.items()
        }

    @torch.no_grad()
    def load(self, path: Path, step: int) -> None:
        """Take over a saved state. Raises KeyError where it is of another kind of optimizer or of another model."""
        with safe_open(path, "pt") as file:
            for name, master in self.masters.masters.items():
                master.copy_(_share(file.get_tensor(f"{MASTER}:{name}"), self.masters.weights[name], master))
                self.optimizer.state[master] = {"step": self._step_count(master, step)}
            names = file.keys()
            for key in names:
                kind, _, name = key.partition(":")
                if kind != MASTER:
                    master = self.masters.masters[name]
                    moment = _share(file.get_tensor(key), self.masters.weights[name], master)
                    self.optimizer.state[master][kind] = moment
        self.masters.renew()

    def _tensors(self) -> Iterator[tuple[str, str, torch.Tensor]]:
        for name, master in self.masters.masters.items():
            yield name, MASTER, master
            for kind, tensor in self.optimizer.state[master].items():
                if kind != "step":
                    yield name, kind, tensor

    def _step_count(self, master: torch.Tensor, step: int) -> torch.Tensor:
        fused = any(group.get("fused") for group in self.optimizer.param_groups)
        return torch.tensor(float(step), device=master.device if fused else "cpu")


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
                raise BackboneError(
                    f"{type(model.classifier).__name__} cannot train with gradient checkpointing, which the memory "
                    f"there is demands: {error}"
                ) from error
        if mesh is not None:
            shard(model, mesh, dtype)
        return model

    return processes.in_turn(prepare)


def _optimizer(masters: MasterWeights, recipe: Recipe, plan: MemoryPlan) -> torch.optim.Optimizer:
    """AdamW; weight decay is for matrices, not for norms and biases."""
    weights = list(masters.masters.values())
    groups = [
        {"params": [weight for weight in weights if weight.ndim >= 2], "weight_decay": recipe.weight_decay},
        {"params": [weight for weight in weights if weight.ndim < 2], "weight_decay": 0.0},
    ]
    settings: dict[str, Any] = {"lr": 0.0, "betas": recipe.adam_betas, "eps": recipe.adam_epsilon}
    groups = [group for group in groups if group["params"]]
    if plan.optimizer == "adamw_8bit":
        return AdamW8bit(groups, **settings)
    return torch.optim.AdamW(groups, fused=True, **settings)


def _source(tensor: torch.Tensor, weight: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Size, torch.dtype, Source]:
    shape = weight.shape if isinstance(weight, DTensor) else tensor.shape
    return shape, dtype, lambda: whole(tensor.detach(), weight.detach()).to(dtype)


def _share(tensor: torch.Tensor, weight: torch.Tensor, master: torch.Tensor) -> torch.Tensor:
    """What belongs to a master of a whole tensor from a state file, where the master is."""
    own = share_like(tensor, weight)
    return own if isinstance(master, DTensor) else local(own).to(master.device)
