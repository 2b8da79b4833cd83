"""float32 master weights and gradients beside a model that computes in bfloat16.

At a rate of 5e-7 an update is far below a bfloat16 weight's rounding step and would be lost; added to a float32 master
it counts. Separate masters rather than autocast over float32 weights: activations, and the weights that every pack
reads, then take half the memory, and masters and moments can lie on the host. The gradients of a global batch are
summed in float32, pack by pack. In float32, and where FSDP2 shards float32 weights and gathers them in bfloat16, the
module's own weights are the masters.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.distributed.tensor import DTensor

from models_train.reward_models.distributed import local

_NOT_ZERO = 1e-6
"""As in torch.nn.utils.clip_grad_norm_."""


class MasterWeights:
    """The weights that an optimizer steps, by the names of the module's parameters: float32 parameters.

    dtype: that the backbone computes in; weights that are excepted (a head) stay float32. on_host: masters lie in the
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
        if not self.is_sharded:
            module.to(device)

    @property
    def is_sharded(self) -> bool:
        """True where every process holds a share of each weight."""
        return any(isinstance(weight, DTensor) for weight in self.weights.values())

    def gradient_norm(self) -> torch.Tensor:
        """Euclidean norm of the whole gradient, a scalar."""
        norm = torch.nn.utils.get_total_norm(list(self._gradients().values()))
        return norm.full_tensor() if isinstance(norm, DTensor) else norm

    def step(self, optimizer: torch.optim.Optimizer, norm: torch.Tensor, most: float | None) -> None:
        """Clip the gradient to a norm of `most`, step the masters, renew the weights, and forget the gradient."""
        gradients = self._gradients()
        if most is not None:
            share = (most / (norm + _NOT_ZERO)).clamp(max=1.0)
            torch._foreach_mul_([local(gradient) for gradient in gradients.values()], share)
        for name, gradient in gradients.items():
            master = self.masters[name]
            master.grad = gradient if isinstance(master, DTensor) else local(gradient).to(master.device)
        optimizer.step()
        self.forget_gradients()
        self.renew()

    @torch.no_grad()
    def renew(self) -> None:
        """Round the masters into the weights that the model computes with."""
        for name, master in self.masters.items():
            if master is not self.weights[name]:
                local(self.weights[name]).copy_(master)

    def forget_gradients(self) -> None:
        """Set all gradients to nothing."""
        for total in self._sums.values():
            total.zero_()
        for name, weight in self.weights.items():
            weight.grad = None
            self.masters[name].grad = None

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
