"""Time on a CUDA device, and the fastest matrix product of the machine at hand."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch


def seconds_of(action: Callable[[], object], n_warm: int = 1, n: int = 1) -> float:
    """Mean seconds of an action on the device, after warming up."""
    for _ in range(n_warm):
        action()
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(n):
        action()
    torch.cuda.synchronize()
    return (time.perf_counter() - began) / n


def peak_flops() -> float:
    """Of bfloat16 matrix products of 8192 x 8192 on random numbers."""
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    return 2 * 8192**3 / seconds_of(lambda: a @ b, n_warm=20, n=50)
