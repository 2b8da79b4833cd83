"""Memory that the machine has, for the memory plan."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from models_train.reward_models.distributed import Processes

CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True)
class Machine:
    """device_bytes: of each device of the run. host_bytes: where state can be offloaded to; 0 on a CPU."""

    device_type: Literal["cuda", "cpu"]
    device_bytes: tuple[int, ...]
    host_bytes: int


def machine_of(processes: Processes) -> Machine:
    """Whole memory, not what happens to be free: a run that goes on after a kill must come to the same plan."""
    host = host_bytes()
    if processes.device.type != "cuda":
        return Machine("cpu", (host // processes.n,) * processes.n, 0)
    devices = range(processes.n) if processes.n > 1 else [processes.device]
    return Machine("cuda", tuple(torch.cuda.get_device_properties(one).total_memory for one in devices), host)


def host_bytes() -> int:
    """Memory of the host, or of the container that this process may use less of."""
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = CGROUP_LIMIT.read_text().strip() if CGROUP_LIMIT.is_file() else "max"
    return min(physical, int(limit)) if limit.isdigit() else physical
