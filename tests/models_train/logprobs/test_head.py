"""The head, tile by tile, against the whole matrix in float64."""

from __future__ import annotations

import pytest
import torch

from models_train.logprobs import head as module
from models_train.logprobs.head import Head

N_TOKENS, N_VOCABULARY, WIDTH = 37, 101, 16


def parts(scale: float = 1.0, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, ...]:
    """hidden, weight, bias, targets."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(N_TOKENS, WIDTH, generator=generator)
    weight = torch.randn(N_VOCABULARY, WIDTH, generator=generator) * scale
    bias = torch.randn(N_VOCABULARY, generator=generator)
    targets = torch.randint(N_VOCABULARY, (N_TOKENS,), generator=generator)
    return hidden.to(dtype), weight.to(dtype), bias.to(dtype), targets


def whole(head: Head, hidden: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities and standardised ones from all logits in float64."""
    logits = hidden.double() @ head.weight.double().t()
    if head.bias is not None:
        logits = logits + head.bias.double()
    logits = logits * head.scale
    if head.softcap is not None:
        logits = head.softcap * torch.tanh(logits / head.softcap)
    log_probs = logits.log_softmax(-1)
    mean = (log_probs.exp() * log_probs).sum(-1)
    deviation = (log_probs.exp() * (log_probs - mean[:, None]).square()).sum(-1).sqrt()
    found = log_probs.gather(-1, targets[:, None])[:, 0]
    return found, (found - mean) / deviation


@pytest.mark.parametrize("tile", [(512, 2048), (10, 2048), (512, 7), (5, 13), (1, 1), (37, 101)])
@pytest.mark.parametrize("options", [{}, {"softcap": 3.0}, {"scale": 0.25}, {"scale": 2.0, "softcap": 5.0}])
@pytest.mark.parametrize("has_bias", [True, False])
def test_every_tile_gives_what_the_matrix_gives(
    tile: tuple[int, int], options: dict[str, float], has_bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(module.TILE, "cpu", tile)
    hidden, weight, bias, targets = parts()
    head = Head(weight, bias if has_bias else None, **options)
    logprobs, standardised = whole(head, hidden, targets)
    found = head.statistics(hidden, targets, True)
    assert found.standardised is not None
    assert torch.allclose(found.logprobs.double(), logprobs, rtol=1e-6, atol=1e-5)
    assert torch.allclose(found.standardised.double(), standardised, rtol=1e-5, atol=1e-4)
    alone = head.statistics(hidden, targets, False)
    assert alone.standardised is None
    assert torch.allclose(alone.logprobs, found.logprobs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("scale", [30.0, 1000.0])
def test_huge_logits_do_not_overflow(scale: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(module.TILE, "cpu", (8, 9))
    hidden, weight, _, targets = parts(scale)
    found = Head(weight, None).statistics(hidden, targets, True)
    logprobs, _ = whole(Head(weight, None), hidden, targets)
    assert torch.allclose(found.logprobs.double(), logprobs, rtol=1e-5, atol=1e-4)
    assert bool((found.logprobs <= 0).all())
    assert found.standardised is not None and bool(torch.isfinite(found.standardised).all())


def test_half_precision_is_reduced_in_single() -> None:
    """The logits of bf16 weights are no bf16 numbers: rounding them would cost more than 0.01 here."""
    hidden, weight, _, targets = parts(3.0, torch.bfloat16)
    found = Head(weight, None).statistics(hidden, targets, True)
    logprobs, _ = whole(Head(weight, None), hidden, targets)
    rounded = (hidden @ weight.t()).float().log_softmax(-1).gather(-1, targets[:, None])[:, 0]
    assert found.logprobs.dtype == torch.float32
    assert float((found.logprobs.double() - logprobs).abs().max()) < 1e-4
    assert float((rounded.double() - logprobs).abs().max()) > 1e-2


def test_a_number_that_is_none_stays_with_its_token() -> None:
    hidden, weight, _, targets = parts()
    hidden[3] = float("nan")
    found = Head(weight, None).statistics(hidden, targets, True)
    assert torch.isnan(found.logprobs).nonzero().flatten().tolist() == [3]
