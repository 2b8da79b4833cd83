"""AdamW whose two moments take a byte each per weight, in plain PyTorch: on any device, with nothing to compile.

Block-wise dynamic quantisation (Dettmers, Lewis, Shleifer and Zettlemoyer 2022, "8-bit optimizers via block-wise
quantization", arXiv 2110.02861, Sections 2.1 and 2.2): each block of 256 values is divided by its largest magnitude and
rounded to the nearest of 256 values that are dense near zero over seven orders of magnitude. Of the second moment the
square root is kept: else a weight with a thousandth of its block's largest gradient would round to a second moment of
zero before its first moment does, and the quotient of the two would explode. The weights are full float32; small
tensors keep float32 moments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import torch

BLOCK = 256
SMALLEST = 4096
"""Tensors of fewer values keep moments in float32: they weigh nothing, and norms and heads are sensitive."""
_CHUNK = 1 << 22
_N_DECADES = 7


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
