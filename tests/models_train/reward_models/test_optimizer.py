"""Masters in float32, moments in 8 bits, state on the host: each against PyTorch's own AdamW."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from bitsandbytes.optim import AdamW8bit

from models_train.reward_models.distributed import current_processes
from models_train.reward_models.optimizer import moments_of
from models_train.reward_models.training import TrainingState
from tests.support.training_runs import RECIPE, plan, reward_model, training_run


def regression(optimizer_class: Any, **settings: Any) -> tuple[list[float], list[torch.Tensor], Any]:
    """Losses of a small network on targets whose scales differ by four orders of magnitude."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(96, 128), torch.nn.Tanh(), torch.nn.Linear(128, 64))
    inputs, targets = torch.randn(256, 96), torch.randn(256, 64) * torch.logspace(-3, 1, 64)
    before = [weight.detach().clone() for weight in network.parameters()]
    optimizer = optimizer_class(network.parameters(), lr=1e-3, **settings)
    losses = []
    for _ in range(100):
        loss = ((network(inputs) - targets) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    moved = [weight.detach() - start for weight, start in zip(network.parameters(), before, strict=True)]
    return losses, moved, optimizer


def test_eight_bit_adamw_follows_adamw() -> None:
    losses, moved, optimizer = regression(AdamW8bit, weight_decay=0.1)
    wanted, reference, _ = regression(torch.optim.AdamW, weight_decay=0.1)
    assert losses == pytest.approx(wanted, rel=0.05)
    assert losses[-1] < 0.7 * losses[0]
    for given, one in zip(moved, reference, strict=True):
        assert (given - one).norm() < 0.3 * one.norm()
        assert torch.nn.functional.cosine_similarity(given.flatten(), one.flatten(), dim=0) > 0.95
    large = [one for one in optimizer.state if one.numel() >= 4096]
    assert len(large) == 2
    for weight in large:
        assert sum(tensor.nbytes for tensor in moments_of(optimizer, weight).values()) <= 2.04 * weight.numel()


def test_the_first_step_of_eight_bit_adamw_is_that_of_adamw() -> None:
    """Moments are rounded after a step, so the first one is exact; a tensor of several chunks, not of whole blocks."""
    generator = torch.Generator().manual_seed(1)
    start, gradient = (torch.randn(2, (1 << 21) + 77, generator=generator) for _ in range(2))
    results = []
    for optimizer_class in (AdamW8bit, torch.optim.AdamW):
        weight = torch.nn.Parameter(start.clone())
        weight.grad = gradient.clone()
        optimizer_class([weight], lr=0.1, betas=(0.8, 0.99), eps=1e-6, weight_decay=0.2).step()
        results.append(weight.detach())
    assert torch.allclose(*results, rtol=1e-5, atol=1e-6)


def test_masters_on_the_host_train_as_masters_on_the_device(tmp_path: Path) -> None:
    for precision in ("float32", "bfloat16"):
        curves = []
        for optimizer in ("adamw", "adamw_offloaded"):
            how = plan(optimizer, precision=precision)
            run = training_run(tmp_path / precision / optimizer, how=how)
            run.advance(12)
            curves.append([(row["loss"], row["gradient_norm"]) for row in run.steps])
        assert curves[0] == curves[1]


def test_bfloat16_weights_alone_would_lose_updates_that_masters_keep() -> None:
    state = TrainingState(reward_model, RECIPE, plan(precision="bfloat16"), current_processes())
    names = [name for name, weight in state.masters.weights.items() if weight.dtype == torch.bfloat16]
    assert len(names) == len(state.masters.weights) - 1 and state.model.head.weight.dtype == torch.float32
    weights = {name: state.masters.weights[name].detach().clone() for name in names}
    masters = {name: state.masters.masters[name].detach().clone() for name in names}
    assert all(torch.equal(weights[name], masters[name].bfloat16()) for name in names)
    for _ in range(30):
        state.begin_step(5e-7)
        sum(weight.float().sum() for weight in state.masters.weights.values()).backward()
        state.masters.step(state.optimizer, torch.tensor(1.0), None)
    moved = torch.cat([(masters[name] - state.masters.masters[name]).flatten() for name in names])
    assert moved.mean().item() == pytest.approx(30 * 5e-7, rel=0.01)
    changed = torch.cat([(weights[name] != state.masters.weights[name]).flatten() for name in names]).float().mean()
    assert changed < 0.5, "most weights are the same in bfloat16 after 30 steps"


@pytest.mark.parametrize("objective", ["bradley_terry", "regression"])
def test_bfloat16_training_stays_near_float32(objective: str, tmp_path: Path) -> None:
    curves = []
    for precision in ("float32", "bfloat16"):
        how = plan(precision=precision)
        run = training_run(tmp_path / precision, objective, how=how)
        run.advance(12)
        curves.append(torch.tensor([row["loss"] for row in run.steps]))
    assert torch.allclose(*curves, rtol=0.05, atol=0.02)
