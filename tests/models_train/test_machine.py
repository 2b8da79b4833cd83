"""Memory limits of a process: control groups of both versions, nested and in containers, ulimit, Slurm."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from models_train import machine
from models_train.machine import GIB, memory_limit

PHYSICAL = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
V2 = "30 23 0:26 {root} {place} rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = "31 23 0:27 {root} {place} rw,nosuid - cgroup cgroup rw,memory\n"
PLACE = "/sys/fs/cgroup"
ONE, TWO = 2**30, 2**31


@pytest.fixture(autouse=True)
def nothing_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "ROOT", tmp_path)
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)


def write(root: Path, mounts: str, groups: str, **limits: str) -> None:
    """The kernel's files. limits: path with `__` for `/`, and text of the file."""
    (root / "proc" / "self").mkdir(parents=True)
    (root / "proc" / "self" / "mountinfo").write_text(f"1 1 0:1 / / rw - ext4 /dev/sda rw\n{mounts}")
    (root / "proc" / "self" / "cgroup").write_text(groups)
    for name, text in limits.items():
        file = root / PLACE.lstrip("/") / name.replace("__", "/").replace("memory_", "memory.")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")


V1_NONE = str(2**63 - 4096)
CASES = {
    "none": ("", "", {}, PHYSICAL),
    "v2": (V2, "0::/job\n", {"job__memory_max": str(ONE)}, ONE),
    "v2, no limit": (V2, "0::/job\n", {"job__memory_max": "max"}, PHYSICAL),
    "v2, more than there is": (V2, "0::/job\n", {"job__memory_max": str(2**50)}, PHYSICAL),
    "v2, set above": (V2, "0::/slice/job/step\n", {"slice__memory_max": str(ONE), "slice__job__step__x": ""}, ONE),
    "v2, the lowest of several": (
        V2,
        "0::/slice/job\n",
        {"slice__memory_max": str(ONE), "slice__job__memory_max": str(TWO)},
        ONE,
    ),
    "v2, own root of a container": (V2, "0::/\n", {"memory_max": str(ONE)}, ONE),
    "v1": (V1, "4:cpu,cpuacct:/\n9:memory:/job\n", {"job__memory_limit_in_bytes": str(ONE)}, ONE),
    "v1, no limit": (V1, "9:memory:/job\n", {"job__memory_limit_in_bytes": V1_NONE}, PHYSICAL),
    "v1, step of Slurm": (
        V1,
        "9:memory:/slurm/uid_0/job_7/step_0/task_0\n",
        {
            "slurm__uid_0__job_7__step_0__task_0__memory_limit_in_bytes": V1_NONE,
            "slurm__uid_0__job_7__memory_limit_in_bytes": str(ONE),
        },
        ONE,
    ),
    "v1, path of the host in a container": (
        V1.replace("{root}", "/docker/abc"),
        "9:memory:/docker/abc\n",
        {"memory_limit_in_bytes": str(ONE)},
        ONE,
    ),
    "v1, path of the host that is not mounted": (
        V1,
        "9:memory:/docker/abc\n",
        {"memory_limit_in_bytes": str(ONE)},
        ONE,
    ),
    "both": (
        V2.replace("{place}", f"{PLACE}/unified") + V1,
        "9:memory:/job\n0::/job\n",
        {"job__memory_limit_in_bytes": str(ONE), "unified__job__cgroup_procs": ""},
        ONE,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_limits_of_control_groups(case: str, tmp_path: Path) -> None:
    mounts, groups, limits, expected = CASES[case]
    write(tmp_path, mounts.replace("{root}", "/").replace("{place}", PLACE), groups, **limits)
    assert memory_limit().n_bytes == expected
    assert ("control group" in memory_limit().source) == (expected != PHYSICAL)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"SLURM_MEM_PER_NODE": "1024"}, ONE),
        ({"SLURM_MEM_PER_NODE": "1G"}, ONE),
        ({"SLURM_MEM_PER_NODE": "0"}, PHYSICAL),
        ({"SLURM_MEM_PER_CPU": "512", "SLURM_CPUS_ON_NODE": "2"}, ONE),
        ({"SLURM_MEM_PER_GPU": "1024", "SLURM_GPUS_ON_NODE": "1"}, ONE),
        ({"SLURM_MEM_PER_NODE": "nonsense"}, PHYSICAL),
    ],
)
def test_limits_of_slurm(variables: dict[str, str], expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert memory_limit().n_bytes == expected


def test_a_limit_of_the_shell_counts_less_what_is_loaded() -> None:
    code = "from models_train.machine import memory_limit; print(*vars(memory_limit()).values(), sep='|')"
    shell = f'ulimit -v {2 * 1024**2}; exec "$0" -c "$1"'
    done = subprocess.run(["bash", "-c", shell, sys.executable, code], capture_output=True, text=True, check=True)
    n_bytes, source = done.stdout.strip().split("|")
    assert GIB < int(n_bytes) < 2 * GIB and source.startswith("ulimit -v of 2.0 GiB, less 0.")


def test_kills_of_a_group_are_counted(tmp_path: Path) -> None:
    write(tmp_path, V2.replace("{root}", "/").replace("{place}", PLACE), "0::/job\n", job__memory_max="max")
    assert machine.group_kills() == 0
    (tmp_path / "sys/fs/cgroup/job/memory.events").write_text("low 0\nhigh 0\nmax 9\noom 3\noom_kill 2\n")
    assert machine.group_kills() == 2


@pytest.mark.parametrize(
    ("given", "expected"), [("3", 3), ("", machine.default_workers()), ("no", machine.default_workers())]
)
def test_workers(given: str, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(machine.WORKERS, given)
    assert machine.workers() == expected
