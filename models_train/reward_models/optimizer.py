"""The optimizer: AdamW on float32 master weights, its moments in float32, in 8 bits, or in the host's memory.

Master weights. At a rate of 5e-7 an update is far below a bfloat16 weight's rounding step and would be lost; added to a
float32 master it counts. Separate masters rather than autocast over float32 weights: activations, and the weights that
every pack reads, then take half the memory, and masters and moments can be in the host's memory. The gradients of a
global batch are summed in float32, pack by pack. In float32, and where FSDP2 shards float32 weights and gathers them in
bfloat16, the module's own weights are the masters.

8-bit moments are those of bitsandbytes: block-wise dynamic quantisation (Dettmers, Lewis, Shleifer and Zettlemoyer
2022, "8-bit optimizers via block-wise quantization", arXiv 2110.02861).

Not verified on a GPU: the CUDA kernels of bitsandbytes; nor FSDP2's mixed precision and CPU offload with one process,
which could take the place of these master weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.distributed.tensor import DTensor

from models_train.reward_models.distributed import local
from models_train.reward_models.memory import OptimizerKind
from models_train.study.training import Recipe

_STEP, _CODES = "step", ("qmap1", "qmap2")
"""Entries of an optimizer's state that are known without it: the step, and the values that 8-bit codes stand for."""


class MasterWeights:
    """The weights that an optimizer steps, by the names of the module's parameters: float32 parameters.

    dtype: compute precision of the backbone; excepted weights (a head) stay float32. on_host: masters are in the
    memory of the host; of sharded weights each process has the masters of its share. The module is moved to `device`,
    one weight at a time.
    """

    def __init__(
        self,
        module: nn.Module,
        dtype: torch.dtype,
        device: torch.device,
        *,
        on_host: bool = False,
        excepted: Callable[[nn.Parameter], bool] = lambda weight: False,
    ) -> None:
        self.weights = dict(module.named_parameters())
        self.masters: dict[str, nn.Parameter] = {}
        self._sums: dict[str, torch.Tensor] = {}
        for name, weight in self.weights.items():
            if isinstance(weight, DTensor):
                own = local(weight.detach())
                self.masters[name] = nn.Parameter(own.to("cpu", copy=True)) if on_host else weight
                continue
            computing = torch.float32 if excepted(weight) else dtype
            separate = on_host or computing != torch.float32
            copied = on_host and computing == torch.float32
            master = weight.detach().to("cpu" if on_host else device, torch.float32, copy=copied)
            weight.data = weight.detach().to(device, computing)
            self.masters[name] = nn.Parameter(master) if separate else weight
            if separate:
                self._sum_gradients_of(name, weight)
        if not any(isinstance(weight, DTensor) for weight in self.weights.values()):
            module.to(device)

    def gradient_norm(self) -> torch.Tensor:
        """Euclidean norm of the whole gradient, a scalar."""
        norm = torch.nn.utils.get_total_norm(list(self._gradients().values()))
        return norm.full_tensor() if isinstance(norm, DTensor) else norm

    def step(self, optimizer: torch.optim.Optimizer, norm: torch.Tensor, most: float | None) -> None:
        """Clip the gradient to a norm of `most`, step the masters, update the weights, and clear the gradient."""
        for name, gradient in self._gradients().items():
            master = self.masters[name]
            master.grad = gradient if isinstance(master, DTensor) else local(gradient).to(master.device)
        if most is not None:
            torch.nn.utils.clip_grads_with_norm_(list(self.masters.values()), most, norm)
        optimizer.step()
        self.clear_gradients()
        self.update_weights()

    @torch.no_grad()
    def update_weights(self) -> None:
        """Round the masters into the weights that the model computes with."""
        for name, master in self.masters.items():
            if master is not self.weights[name]:
                local(self.weights[name]).copy_(master)

    def clear_gradients(self, *, to_zero: bool = False) -> None:
        """Clear all gradients. to_zero: to zeros, for an optimizer step that changes nothing."""
        for total in self._sums.values():
            total.zero_()
        for name, weight in self.weights.items():
            self.masters[name].grad = None
            weight.grad = torch.zeros_like(weight) if to_zero and name not in self._sums else None

    def _gradients(self) -> dict[str, torch.Tensor]:
        found = {name: self._sums.get(name, weight.grad) for name, weight in self.weights.items()}
        return {name: gradient for name, gradient in found.items() if gradient is not None}

    def _sum_gradients_of(self, name: str, weight: nn.Parameter) -> None:
        total = torch.zeros_like(weight, dtype=torch.float32)

        def add(weight: torch.Tensor) -> None:
            if weight.grad is not None:
                total.add_(weight.grad)
                weight.grad = None

        self._sums[name] = total
        weight.register_post_accumulate_grad_hook(add)


def adamw(masters: MasterWeights, recipe: Recipe, kind: OptimizerKind) -> torch.optim.Optimizer:
    """AdamW of the memory plan's kind; weight decay is for matrices, not for norms and biases."""
    weights = list(masters.masters.values())
    groups = [
        {"params": [weight for weight in weights if weight.ndim >= 2], "weight_decay": recipe.weight_decay},
        {"params": [weight for weight in weights if weight.ndim < 2], "weight_decay": 0.0},
    ]
    settings: dict[str, Any] = {"lr": 0.0, "betas": recipe.adam_betas, "eps": recipe.adam_epsilon}
    groups = [group for group in groups if group["params"]]
    if kind == "adamw_8bit":
        from bitsandbytes.optim import AdamW8bit  # loads its native libraries, which other plans do not need

        eight_bit: torch.optim.Optimizer = AdamW8bit(groups, **settings)
        return eight_bit
    return torch.optim.AdamW(groups, fused=True, **settings)


def moments_of(optimizer: torch.optim.Optimizer, master: torch.Tensor) -> dict[str, torch.Tensor]:
    """The tensors of a master's state that a step changes, by the optimizer's own names."""
    return {kind: tensor for kind, tensor in optimizer.state[master].items() if kind not in (_STEP, *_CODES)}


def set_step(optimizer: torch.optim.Optimizer, step: int) -> None:
    """Set the number of steps taken, which corrects the bias of the moments."""
    for state in optimizer.state.values():
        state[_STEP] = torch.full_like(state[_STEP], step) if torch.is_tensor(state[_STEP]) else step
