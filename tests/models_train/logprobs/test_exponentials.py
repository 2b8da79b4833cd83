"""Sums of exponentials against float64."""

from __future__ import annotations

import math

import pytest
import torch

from models_train.logprobs.exponentials import row_sums


@pytest.mark.parametrize("n_columns", [1, 7, 64, 1000])
@pytest.mark.parametrize("scale", [0.01, 3.0, 40.0])
@pytest.mark.parametrize("above", [0.0, 5.0])
def test_sums_are_those_of_double_precision(n_columns: int, scale: float, above: float) -> None:
    tile = torch.randn(9, n_columns, generator=torch.Generator().manual_seed(0)) * scale
    top = tile.amax(1) + above
    x = tile.double() - top.double()[:, None]
    wanted = [x.exp().sum(1), (x * x.exp()).sum(1), (x.square() * x.exp()).sum(1)]
    for found, exact in zip(row_sums(tile, top, True), wanted, strict=True):
        assert torch.allclose(found.double(), exact, rtol=2e-6, atol=1e-12)
    (alone,) = row_sums(tile, top, False)
    assert torch.allclose(alone.double(), wanted[0], rtol=2e-6)


def test_what_is_no_number_does_not_become_one() -> None:
    tile = torch.zeros(4, 50)
    tile[0, 3], tile[1, 4], tile[2, 5], tile[3] = math.nan, -math.inf, math.inf, -math.inf
    total, first, second = row_sums(tile, tile.amax(1), True)
    assert total.isnan().tolist() == [True, False, True, True]
    assert first.isnan()[0] and second.isnan()[0]
    assert total[1] == pytest.approx(49) and first[1] == pytest.approx(0, abs=1e-30)
