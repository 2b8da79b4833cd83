"""The optimizer: AdamW on float32 master weights, its moments in float32, in 8 bits, or in the host's memory.

Master weights. At a rate of 5e-7 an update is far below a bfloat16 weight's rounding step and would be lost; added to a
float32 master it counts. Separate masters rather than autocast over float32 weights: activations, and the weights that
every pack reads, then take half the memory, and masters and moments can be in the host's memory. The gradients of a
global batch are summed in float32, pack by pack. In float32, and where FSDP2 shards float32 weights and gathers them in
bfloat16, the module's own weights are the masters.

8-bit moments. Block-wise dynamic quantisation (Dettmers, Lewis, Shleifer and Zettlemoyer 2022, "8-bit optimizers via
block-wise quantization", arXiv 2110.02861, Sections 2.1 and 2.2): each block of 256 values is divided by its largest
magnitude and rounded to the nearest of 256 values that are dense near zero over seven orders of magnitude. For the
second moment its square root is stored: otherwise a weight with a thousandth of its block's largest gradient would
round to a second moment of zero before its first moment does, and the quotient of the two would explode.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.distributed.tensor import DTensor

from models_train.reward_models.distributed import local
from models_train.reward_models.memory import OptimizerKind
from models_train.study.training import Recipe

BLOCK = 256
SMALLEST = 4096
"""Fewest values of a tensor whose moments are quantised: small tensors take no memory, and norms and heads are
sensitive."""
_CHUNK = 1 << 22
_N_DECADES = 7


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
        return AdamW8bit(groups, **settings)
    return torch.optim.AdamW(groups, fused=True, **settings)


class AdamW8bit(torch.optim.Optimizer):
    """Decoupled weight decay (Loshchilov and Hutter 2019), as `torch.optim.AdamW`, with quantised moments.

    Every parameter has in its state `step`, and either `exp_avg` and `exp_avg_sq` in float32, or their codes (uint8,
    one per weight) and `exp_avg_scale` and `exp_avg_sq_scale` (float32, one per block).
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    state = self.state[weight] or self._begin(weight)
                    state["step"] += 1
                    _update(weight, weight.grad, state, group)

    def _begin(self, weight: torch.Tensor) -> dict[str, Any]:
        state = self.state[weight]
        state["step"] = torch.tensor(0.0)
        for key in ("exp_avg", "exp_avg_sq"):
            if weight.numel() < SMALLEST:
                state[key] = torch.zeros_like(weight)
                continue
            zero = int((code_values(key == "exp_avg", weight.device) == 0).nonzero())
            state[key] = torch.full_like(weight, zero, dtype=torch.uint8)
            state[f"{key}_scale"] = torch.zeros(-(-weight.numel() // BLOCK), device=weight.device)
        return state


def quantise(values: torch.Tensor, signed: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes (n,) uint8 and the scale of each block (ceil(n / 256),) float32 of (n,) float32 values."""
    blocks = torch.nn.functional.pad(values, (0, -len(values) % BLOCK)).view(-1, BLOCK)
    scales = blocks.abs().amax(dim=1)
    shares = blocks / scales.clamp_min(torch.finfo(torch.float32).tiny)[:, None]
    known = code_values(signed, values.device)
    codes = torch.bucketize(shares, (known[1:] + known[:-1]) / 2, out_int32=True).to(torch.uint8)
    return codes.view(-1)[: len(values)], scales


def dequantise(codes: torch.Tensor, scales: torch.Tensor, signed: bool) -> torch.Tensor:
    """(n,) float32 values of codes and scales as `quantise` made them."""
    values = code_values(signed, codes.device)[codes.int()]
    blocks = torch.nn.functional.pad(values, (0, -len(values) % BLOCK)).view(-1, BLOCK) * scales[:, None]
    return blocks.view(-1)[: len(values)]


@cache
def code_values(signed: bool, device: torch.device) -> torch.Tensor:
    """(256,) float32, ascending: what the codes 0 to 255 mean, as shares of the block's largest magnitude."""
    values = [0.0, 1.0]
    for decade in range(_N_DECADES):
        n_values = 2**decade * (1 if signed else 2)
        width = 0.9 / n_values
        for place in range(n_values):
            value = 10.0 ** (decade - _N_DECADES + 1) * (0.1 + (place + 0.5) * width)
            values += [value, -value] if signed else [value]
    return torch.tensor(sorted(values), device=device)


def _update(weight: torch.Tensor, gradient: torch.Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
    """One AdamW update in chunks of whole blocks, so that the float32 moments of a large tensor never exist at once."""
    flat, flat_gradient = weight.view(-1), gradient.reshape(-1)
    for start in range(0, len(flat), _CHUNK):
        part = slice(start, min(start + _CHUNK, len(flat)))
        mean, square = _moment(state, "exp_avg", part), _moment(state, "exp_avg_sq", part)
        _adamw(flat[part], flat_gradient[part].float(), mean, square, int(state["step"]), group)
        _keep(state, "exp_avg", part, mean)
        _keep(state, "exp_avg_sq", part, square)


def _adamw(
    weight: torch.Tensor,
    gradient: torch.Tensor,
    mean: torch.Tensor,
    square: torch.Tensor,
    step: int,
    group: dict[str, Any],
) -> None:
    """In place; all (n,) float32."""
    first, second = group["betas"]
    mean.lerp_(gradient, 1 - first)
    square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
    spread = (square / (1 - second**step)).sqrt_().add_(group["eps"])
    weight.mul_(1 - group["lr"] * group["weight_decay"])
    weight.addcdiv_(mean, spread, value=-group["lr"] / (1 - first**step))


def _moment(state: dict[str, Any], key: str, part: slice) -> torch.Tensor:
    codes = state[key].view(-1)[part]
    if codes.dtype != torch.uint8:
        return codes
    blocks = slice(part.start // BLOCK, -(-part.stop // BLOCK))
    values = dequantise(codes, state[f"{key}_scale"][blocks], key == "exp_avg")
    return values if key == "exp_avg" else values.square_()


def _keep(state: dict[str, Any], key: str, part: slice, moment: torch.Tensor) -> None:
    codes = state[key].view(-1)[part]
    if codes.dtype != torch.uint8:
        return
    blocks = slice(part.start // BLOCK, -(-part.stop // BLOCK))
    new, scales = quantise(moment if key == "exp_avg" else moment.sqrt_(), key == "exp_avg")
    codes.copy_(new)
    state[f"{key}_scale"][blocks] = scales
