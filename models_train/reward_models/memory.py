"""Memory plan of a training run, made before the first step from the model's config and the memory of the machine.

Tried in this order, the first that fits is taken: AdamW with all state on the device; its moments in 8 bits (one
device); masters and moments in the memory of the host. Each first without, then with gradient checkpointing, which
computes a third more. On several devices weights, gradients and moments are sharded over them (FSDP2).

No weights are loaded: the backbone is built on PyTorch's meta device, and a short forward pass shows which tensors
autograd would keep. The difference between two layers and one is a layer; where layers differ from each other (first
dense ones, then experts), the mean of all is. No library forecasts the activations of packs: `accelerate
estimate-memory` counts weights and optimizer state.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal

import torch
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from models_train.errors import UserError, first_line
from models_train.machine import MemoryLimit, memory_limit
from models_train.modeling.packed_attention import FORWARD_ERRORS
from models_train.reward_models.distributed import Processes
from models_train.study.training import Precision

OptimizerKind = Literal["adamw", "adamw_8bit", "adamw_offloaded"]
GIB = 1024**3
MARGIN = 0.08
"""Share of a device that is left free, for fragments of the allocator and errors of the estimate."""
CONTEXT_BYTES = GIB
"""Memory of driver and libraries on each device, in bytes."""
PROCESS_BYTES = GIB // 2
"""Memory of a process on a CPU beside the plan: Python, libraries and data, in bytes."""
MOST_TOKENS = {"cuda": 16384, "cpu": 4096}
"""Largest useful pack, in tokens; larger ones are not faster."""
FEWEST_TOKENS = 512
"""Smallest pack that a plan tries, in tokens."""
_MOST_DEVICES = 64
_EIGHT_BIT_BYTES = 2 * (1 + 4 / 256)
_UNIT_BYTES = 16
"""Working memory of sharded training, in bytes per weight of the largest unit: gathered twice, its gradient, and the
two buffers of the reduction."""
_BUILDING_ERRORS = (*FORWARD_ERRORS, ImportError)
_N_TOKENS = 16
"""Tokens of the short forward pass; few, because packed attention keeps nothing that grows with their square."""
_SOFT_CAP_BYTES = 10
"""Bytes per head and earlier token of soft-capped attention without a kernel: tanh, mask, softmax and its copy."""


@dataclass(frozen=True)
class ModelShape:
    """Sizes of a model that its memory in training depends on.

    n_weights: of backbone and head. largest_unit: weights of the largest layer, or of the embeddings. n_layers.
    layer_bytes: kept by autograd per token and layer. outer_bytes: per token, outside the layers. checkpoint_bytes: per
    token and layer where a layer keeps its input only. squared_bytes: per token, layer and token of its sequence.
    """

    n_weights: int
    largest_unit: int
    n_layers: int
    layer_bytes: int
    outer_bytes: int
    checkpoint_bytes: int
    squared_bytes: int

    def activation_bytes(self, n_tokens: int, longest: int, gradient_checkpointing: bool) -> int:
        """Bytes of a pack of n_tokens whose longest sequence has `longest`, at the peak of its backward pass.

        With gradient checkpointing every layer keeps its input and one layer is computed again; either way the
        backward pass of one layer holds about as much again as the layer kept.
        """
        layer = self.layer_bytes + self.squared_bytes * longest
        kept = self.checkpoint_bytes * self.n_layers + layer if gradient_checkpointing else layer * self.n_layers
        return n_tokens * (kept + layer + self.outer_bytes)


@dataclass(frozen=True)
class Memory:
    """Memory of one way to train, in bytes: on each device, and on the host (all processes together)."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    working: int
    host: int

    @property
    def device(self) -> int:
        """Sum of a device."""
        return self.weights + self.gradients + self.optimizer + self.activations + self.working


@dataclass(frozen=True)
class MemoryPlan:
    """A way to train that fits. n_devices above 1: everything is sharded over as many processes of torchrun."""

    precision: Precision
    optimizer: OptimizerKind
    gradient_checkpointing: bool
    tokens_per_pack: int
    n_devices: int
    memory: Memory

    def describe(self) -> str:
        """One line for logs and the model card."""
        memory = self.memory
        parts = ", ".join(
            f"{name} {_gib(getattr(memory, name))}" for name in ("weights", "gradients", "optimizer", "activations")
        )
        host = f"; {_gib(memory.host)} on the host" if memory.host else ""
        return (
            f"{self.formats}, {'' if self.gradient_checkpointing else 'no '}gradient checkpointing, packs of "
            f"{self.tokens_per_pack} tokens, {self.n_devices} device{'s' * (self.n_devices > 1)}"
            f"{', sharded' * (self.n_devices > 1)}: {_gib(memory.device)} each ({parts}{host})"
        )

    @property
    def formats(self) -> str:
        """Number formats of weights, compute and optimizer state."""
        state = {
            "adamw": "float32 AdamW",
            "adamw_8bit": "8-bit AdamW",
            "adamw_offloaded": "float32 AdamW on the host",
        }
        return f"{self.precision} compute, float32 master weights, {state[self.optimizer]}"


@dataclass(frozen=True)
class Machine:
    """device_bytes: of each device of the run. host_bytes: where state can be offloaded to; 0 on a CPU. limit: what
    sets the memory of the host."""

    device_type: Literal["cuda", "cpu"]
    device_bytes: tuple[int, ...]
    host_bytes: int
    limit: MemoryLimit


def machine_of(processes: Processes, n_jobs: int = 1, n_waiting: int = 0) -> Machine:
    """Memory of the machine. The whole, not the free part: a run that goes on after a kill must get the same plan.
    Of several machines, the least memory of any: all processes need the same plan.

    n_jobs: that are at work at the same time; n_waiting: others that wait, with their libraries and data. On a CPU they
    share its memory; a GPU belongs to the job.
    """
    n_here = processes.n if processes.local_n is None else processes.local_n
    own = memory_limit()
    # A machine's memory over its share of the processes: state on the host is spread over all of them.
    limit = min(
        processes.of_all(replace(own, n_bytes=own.n_bytes * processes.n // n_here)), key=lambda one: one.n_bytes
    )
    if processes.device.type != "cuda":
        each = max(0, limit.n_bytes // (processes.n * n_jobs) - PROCESS_BYTES * (1 + n_waiting))
        return Machine("cpu", (each,) * processes.n, 0, limit)
    size = torch.cuda.get_device_properties(processes.device).total_memory
    return Machine("cuda", tuple(processes.of_all(size)), limit.n_bytes, limit)


def plan_memory(
    shape: ModelShape,
    *,
    precision: Precision,
    device_bytes: Sequence[int],
    host_bytes: int,
    longest_example: int,
    longest_sequence: int,
    tokens_per_pack: int | None = None,
    device_type: Literal["cuda", "cpu"] = "cuda",
    optimizer: OptimizerKind | None = None,
) -> MemoryPlan:
    """The first plan that fits.

    device_bytes: memory of each device of the run. longest_example: tokens of all sequences of the longest example,
    which share a pack. longest_sequence: tokens of the longest one. tokens_per_pack: as the study wants it; None
    chooses the largest useful pack that fits. optimizer: of the run that goes on; None for any. Raises UserError.
    """
    room = int(min(device_bytes) * (1 - MARGIN)) - CONTEXT_BYTES * (device_type == "cuda")
    sizes = (tokens_per_pack,) if tokens_per_pack else _pack_sizes(longest_example, device_type)
    plans = list(_plans(shape, precision, len(device_bytes), longest_sequence, longest_example, sizes))
    plans = [plan for plan in plans if plan.optimizer == optimizer] or plans
    for plan in plans:
        if plan.memory.device <= room and plan.memory.host <= host_bytes * (1 - MARGIN):
            return plan
    smallest = min(plans, key=lambda plan: plan.memory.device)
    raise UserError(_refusal(shape, plans, smallest, device_bytes, host_bytes, room))


def memory_of(
    shape: ModelShape,
    precision: Precision,
    optimizer: OptimizerKind,
    gradient_checkpointing: bool,
    n_devices: int,
    pack_tokens: int,
    longest_sequence: int,
) -> Memory:
    """Bytes of one way to train, at the peak of a step.

    A single device holds weights in the precision of computing, gradients in float32, and in the optimizer float32
    masters (in float32 the weights are their own masters) and moments. Sharded, the float32 weights are the masters,
    and units are gathered in the precision of computing.
    """
    n = shape.n_weights
    computing = torch.bfloat16.itemsize if precision == "bfloat16" else torch.float32.itemsize
    activations = shape.activation_bytes(pack_tokens, longest_sequence, gradient_checkpointing)
    if n_devices > 1:
        working = _UNIT_BYTES * shape.largest_unit
        share = -(-n // n_devices)
        if optimizer == "adamw_offloaded":
            return Memory(4 * share, 4 * share, 0, activations, working, host=16 * n)
        return Memory(4 * share, 4 * share, 8 * share, activations, working, host=0)
    working = 2 * computing * shape.largest_unit
    if optimizer == "adamw_offloaded":
        return Memory(computing * n, 4 * n, 0, activations, working, host=16 * n)
    masters = 4 * n if precision == "bfloat16" else 0
    moments = int(_EIGHT_BIT_BYTES * n) if optimizer == "adamw_8bit" else 8 * n
    return Memory(computing * n, 4 * n, masters + moments, activations, working, host=0)


def model_shape(config: PreTrainedConfig, n_outputs: int, dtype: torch.dtype) -> ModelShape:
    """Shape of a reward model that computes in `dtype`. Raises UserError."""
    text = config.get_text_config()
    n_layers = int(text.num_hidden_layers)
    capped = getattr(text, "attn_logit_softcapping", None) is not None
    try:
        full = _backbone(text, None, dtype)
    except _BUILDING_ERRORS as error:
        raise UserError(
            f"no {config.model_type} model can be built from the configuration: {first_line(error)}. Correct "
            "config.json, or take the model out of the study"
        ) from error
    n_weights = _n_weights(full)
    try:
        layer, outer = _equal_layers(text, n_layers, dtype, n_weights) or _mean_layer(full, n_layers, dtype)
    except _BUILDING_ERRORS as error:
        raise UserError(
            f"the memory that a {config.model_type} model needs cannot be planned: its layers do not run without "
            f"values ({first_line(error)}); take the model out of the study"
        ) from error
    return ModelShape(
        n_weights=n_weights + n_outputs * text.hidden_size,
        largest_unit=max(layer.weights, outer.weights),
        n_layers=n_layers,
        layer_bytes=-(-layer.kept // _N_TOKENS),
        outer_bytes=-(-max(0, outer.kept) // _N_TOKENS),
        checkpoint_bytes=text.hidden_size * dtype.itemsize,
        squared_bytes=_SOFT_CAP_BYTES * text.num_attention_heads if capped else 0,
    )


def _plans(
    shape: ModelShape,
    precision: Precision,
    n_devices: int,
    longest_sequence: int,
    longest_example: int,
    sizes: Sequence[int],
) -> Iterator[MemoryPlan]:
    """Every way to train, the best first."""
    kinds: tuple[OptimizerKind, ...] = ("adamw", "adamw_offloaded") if n_devices > 1 else (
        "adamw", "adamw_8bit", "adamw_offloaded",
    )  # fmt: skip
    for kind, checkpointing, size in product(kinds, (False, True), sizes):
        tokens = max(size, longest_example)
        memory = memory_of(shape, precision, kind, checkpointing, n_devices, tokens, longest_sequence)
        yield MemoryPlan(precision, kind, checkpointing, size, n_devices, memory)


def _pack_sizes(longest_example: int, device_type: str) -> list[int]:
    """Sizes to try, halving; below the longest example a smaller pack needs no less memory."""
    sizes = [MOST_TOKENS[device_type]]
    while sizes[-1] // 2 >= max(FEWEST_TOKENS, longest_example):
        sizes.append(sizes[-1] // 2)
    return sizes


def _refusal(
    shape: ModelShape,
    plans: Sequence[MemoryPlan],
    smallest: MemoryPlan,
    device_bytes: Sequence[int],
    host_bytes: int,
    room: int,
) -> str:
    n, each = len(device_bytes), min(device_bytes)
    devices = f"{n} device{'s' * (n > 1)} of {_gib(each)}"
    text = (
        f"training {shape.n_weights / 1e9:.3g} billion weights does not fit on {devices} ({_gib(room)} of each can be "
        f"used). At the least it needs {_gib(smallest.memory.device)} on each device"
    )
    if smallest.memory.host:
        text += f" and {_gib(smallest.memory.host)} on the host, which has {_gib(host_bytes)}"
    on_devices = min((plan for plan in plans if not plan.memory.host), key=lambda plan: plan.memory.device)
    text += f"; with the optimizer's state on the devices {_gib(on_devices.memory.device)} each. "
    enough = _enough_devices(shape, on_devices, room)
    text += f"Sharded with torchrun, {enough} such devices would do" if enough else "No number of such devices would do"
    return f"{text}; or shorten max_tokens of the recipe, or take a smaller model"


def _enough_devices(shape: ModelShape, plan: MemoryPlan, room: int) -> int | None:
    """The smallest number of devices over which a sharded run fits; None up to 64."""
    for n_devices in range(plan.n_devices + 1, _MOST_DEVICES + 1):
        memory = memory_of(shape, plan.precision, "adamw", True, n_devices, 1, 1)
        if memory.device - memory.activations + plan.memory.activations <= room:
            return n_devices
    return None


def _gib(n_bytes: float) -> str:
    return f"{n_bytes / GIB:.1f} GiB"


@dataclass(frozen=True)
class _Measured:
    """Weights, and bytes that autograd keeps of _N_TOKENS tokens, of a part of a backbone."""

    weights: int
    kept: int


def _equal_layers(
    config: PreTrainedConfig, n_layers: int, dtype: torch.dtype, n_weights: int
) -> tuple[_Measured, _Measured] | None:
    """A layer, and all that is in no layer; None where the layers differ, or a backbone of one cannot be built."""
    try:
        one, two = (
            _Measured(_n_weights(model), _kept(model, dtype)) for model in (_backbone(config, n, dtype) for n in (1, 2))
        )
    except _BUILDING_ERRORS:
        return None
    layer = _Measured(two.weights - one.weights, two.kept - one.kept)
    outer = _Measured(one.weights - layer.weights, one.kept - layer.kept)
    return (layer, outer) if outer.weights + n_layers * layer.weights == n_weights else None


def _mean_layer(full: PreTrainedModel, n_layers: int, dtype: torch.dtype) -> tuple[_Measured, _Measured]:
    """The largest layer's weights with the mean of what layers keep, and all that is in no layer, which keeps 0."""
    layers = [_n_weights(module) for module in full.modules() if isinstance(module, GradientCheckpointingLayer)]
    largest = max(layers, default=_n_weights(full) // n_layers)
    return _Measured(largest, _kept(full, dtype) // n_layers), _Measured(max(0, _n_weights(full) - sum(layers)), 0)


def _n_weights(module: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def _backbone(config: PreTrainedConfig, n_layers: int | None, dtype: torch.dtype) -> PreTrainedModel:
    """A backbone on the meta device, with the layers of its configuration or with as many as are given."""
    config = copy.deepcopy(config)
    if n_layers is not None:
        config.num_hidden_layers = n_layers
        if getattr(config, "layer_types", None):
            # A model of one layer names one type only; a second layer is like it.
            config.layer_types = (config.layer_types * n_layers)[:n_layers]
    config.rope_parameters = _fixed_positions(getattr(config, "rope_parameters", None))
    with torch.device("meta"):
        model: PreTrainedModel = AutoModel.from_config(config, dtype=dtype)
    return model


def _kept(model: PreTrainedModel, dtype: torch.dtype) -> int:
    """Bytes that autograd keeps of a forward pass that computes in `dtype`, weights apart."""
    # On the meta device the grouped product of experts takes bfloat16 alone, whose tensors are half as large. State
    # space layers may take no mask of four dimensions.
    ways = [(model.dtype, True), (torch.bfloat16, True), (model.dtype, False), (torch.bfloat16, False)]
    for number, (computing, masked) in enumerate(ways, 1):
        try:
            return _kept_bytes(torch.nn.Module.to(model, computing), dtype, masked=masked)
        except FORWARD_ERRORS:
            if number == len(ways):
                raise
    raise AssertionError


def _kept_bytes(model: PreTrainedModel, dtype: torch.dtype, *, masked: bool) -> int:
    """Bytes that autograd keeps of a forward pass, weights apart; numbers in the model's own format as in `dtype`."""
    with torch.device("meta"):
        token_ids = torch.zeros(1, _N_TOKENS, dtype=torch.int64)
        mask = torch.zeros(1, 1, _N_TOKENS, _N_TOKENS, dtype=model.dtype)
    # PyTorch has one storage object per storage; a table holds them, so that none is counted twice.
    own = {tensor.untyped_storage() for tensor in (*model.parameters(), *model.buffers())}
    kept: dict[torch.UntypedStorage, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        wider = dtype.itemsize / model.dtype.itemsize if tensor.dtype == model.dtype else 1
        kept[storage] = int(storage.nbytes() * wider)
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        # A mask of four dimensions is taken as it is; without one, most families look at the values of the positions.
        model(input_ids=token_ids, attention_mask=mask if masked else None, use_cache=False)
    return sum(n_bytes for storage, n_bytes in kept.items() if storage not in own)


def _fixed_positions(parameters: Any) -> Any:
    """A position encoding of the same size whose frequencies do not depend on values, which meta tensors lack."""
    if not isinstance(parameters, Mapping):
        return parameters
    if "rope_type" not in parameters:
        return {kind: _fixed_positions(one) for kind, one in parameters.items()}
    return {"rope_theta": 10000.0} | dict(parameters) | {"rope_type": "default"}
