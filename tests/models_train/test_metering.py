"""What is measured of a piece of work, and that it fits the contract."""

from __future__ import annotations

import json
import platform
import time
from dataclasses import replace

import pytest
import torch
import transformers
from packaging.version import Version

from models_train.metering import Costs, default_device, device_name, library_versions, measure, peak_memory_bytes
from models_train.parts import check_rows
from warehouse.contracts import REWARD_MODEL_TABLES

COSTS = Costs(100, 2.5, "cpu", 2, False, 1000, "{}")


def test_work_is_measured_until_its_end() -> None:
    with measure("cpu") as meter:
        meter.add_tokens(30)
        meter.add_tokens(12)
        time.sleep(0.05)
        under_way = meter.costs
    ended = meter.costs
    time.sleep(0.02)
    assert 0.05 <= under_way.device_seconds <= ended.device_seconds == meter.costs.device_seconds
    assert (ended.n_tokens, ended.device, ended.n_devices, ended.is_gpu) == (42, "cpu", 1, False)


def test_work_that_fails_is_measured_too() -> None:
    with pytest.raises(RuntimeError, match="broke"), measure("cpu") as meter:
        meter.add_tokens(3)
        raise RuntimeError("broke")
    seconds = meter.costs.device_seconds
    assert meter.costs.n_tokens == 3 and meter.costs.device_seconds == seconds


def test_the_peak_of_memory_is_that_of_the_process() -> None:
    before = peak_memory_bytes("cpu")
    block = torch.ones(2**26)  # 256 MiB
    after = peak_memory_bytes("cpu")
    assert before is not None and after is not None
    assert after >= before and after > block.numel() * 4
    assert peak_memory_bytes("meta") is None


def test_costs_of_work_that_was_resumed_add_up() -> None:
    later = Costs(11, 1.5, "NVIDIA H200", 1, True, 700, '{"torch": "2"}')
    both = COSTS + later
    assert both == Costs(111, 4.0, "NVIDIA H200", 1, True, 1000, '{"torch": "2"}')
    assert (replace(COSTS, peak_memory_bytes=None) + later).peak_memory_bytes == 700
    assert (replace(COSTS, peak_memory_bytes=None) + replace(later, peak_memory_bytes=None)).peak_memory_bytes is None


def test_a_row_fits_the_contract() -> None:
    with measure(default_device()) as meter:
        row = meter.costs.row("tiny", "score_completions", "regression")
    table = check_rows(REWARD_MODEL_TABLES["run_costs"], [row], study_id="s", run_id="r")
    assert table.to_pylist()[0]["variant"] == "regression"
    assert device_name("cpu") == "cpu"


def test_versions_are_those_that_run() -> None:
    versions = json.loads(library_versions())
    # Installed as 2.13.0, the build for GPUs calls itself 2.13.0+cu130.
    assert Version(versions["torch"]).public == Version(torch.__version__).public
    assert versions["transformers"] == transformers.__version__
    assert versions["python"] == platform.python_version()
    assert list(versions) == sorted(versions)
