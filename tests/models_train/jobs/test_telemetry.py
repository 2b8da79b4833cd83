"""No library reports its use, also where a job is started alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from models_train import telemetry

pytestmark = pytest.mark.slow

JOBS = Path(telemetry.__file__).parent / "jobs"
# What the hub's client itself has understood; the other libraries are not needed by every job.
ASK = """
import runpy, sys
sys.argv = ["job", "--help"]
try:
    runpy.run_module("models_train.jobs." + {job!r}, run_name="__main__")
except SystemExit:
    pass
import os
from huggingface_hub import constants
print(constants.HF_HUB_DISABLE_TELEMETRY, [os.environ.get(name) for name in {names!r}])
"""


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in telemetry.OFF}


@pytest.mark.parametrize("job", ["make_lab", "train_reward_model"])
def test_a_job_started_alone_reports_to_nobody(job: str) -> None:
    ask = ASK.format(job=job, names=list(telemetry.OFF))
    done = subprocess.run(
        [sys.executable, "-c", ask], capture_output=True, text=True, env=environment(), timeout=120, check=True
    )
    assert done.stdout.strip().splitlines()[-1] == f"True {list(telemetry.OFF.values())}"


def test_what_a_person_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DO_NOT_TRACK", "0")
    monkeypatch.delenv("VLLM_NO_USAGE_STATS", raising=False)
    telemetry.switch_off()
    assert (os.environ["DO_NOT_TRACK"], os.environ["VLLM_NO_USAGE_STATS"]) == ("0", "1")
