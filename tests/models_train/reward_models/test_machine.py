"""Memory of the machine, as the memory plan takes it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from models_train.reward_models import machine
from models_train.reward_models.distributed import Processes

PHYSICAL = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(("limit", "expected"), [("1073741824\n", 2**30), ("max\n", PHYSICAL), (str(2**62), PHYSICAL)])
def test_a_containers_limit_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, expected: int) -> None:
    file = tmp_path / "memory.max"
    file.write_text(limit)
    monkeypatch.setattr(machine, "CGROUP_LIMIT", file)
    assert machine.host_bytes() == expected


def test_processes_on_a_cpu_share_its_memory() -> None:
    found = machine.machine_of(Processes(1, 2, torch.device("cpu")))
    assert found.device_type == "cpu" and found.host_bytes == 0
    assert found.device_bytes == (machine.host_bytes() // 2,) * 2
