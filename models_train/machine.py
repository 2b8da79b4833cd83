"""Memory that this process may use: of the machine, its control groups, `ulimit` and Slurm. Standard library only."""

from __future__ import annotations

import os
import re
import resource
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass
from pathlib import Path

GIB = 1024**3
WORKERS = "REWARDBASE_WORKERS"
"""Variable with the number of GPU tasks that run at a time."""
RAY, AUTO = "REWARDBASE_RAY", "auto"
"""Variable that says where jobs are worked on: empty for this machine alone, AUTO for the Ray cluster that it belongs
to, or the address of another."""
RAY_MODE, RAY_TOKEN = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN"
"""Ray's own variables: whether a cluster asks for a token, and the token."""
MOST_DEFAULT_WORKERS = 2
"""GPU tasks at a time on a machine without a GPU, by default: each of them holds a model."""
ROOT = Path("/")
"""Folder that the kernel's files are below."""
_V2_FILE, _V1_FILE = "memory.max", "memory.limit_in_bytes"
_UNLIMITED = 2**60
"""Limits from here on are none: control groups of version 1 write 2**63 less a page."""
_SLURM = (
    ("SLURM_MEM_PER_NODE", None),
    ("SLURM_MEM_PER_CPU", "SLURM_CPUS_ON_NODE"),
    ("SLURM_MEM_PER_GPU", "SLURM_GPUS_ON_NODE"),
)
"""Variables with a job's memory, and those with the number that it is multiplied by."""
_SLURM_UNITS = {"": 1024**2, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}


@dataclass(frozen=True)
class MemoryLimit:
    """Memory in bytes, and what sets it, for messages."""

    n_bytes: int
    source: str

    def describe(self) -> str:
        """Size and source."""
        return f"{gib(self.n_bytes)} ({self.source})"


def memory_limit() -> MemoryLimit:
    """The lowest of the limits of this process."""
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limits = [MemoryLimit(physical, "memory of the machine"), *_group_limits(), *_slurm_limits(), *_address_limits()]
    return min(limits, key=lambda limit: limit.n_bytes)


def default_workers() -> int:
    """GPU tasks at a time: one where there is a GPU; otherwise one per core, MOST_DEFAULT_WORKERS at most."""
    return 1 if Path("/dev/nvidia0").exists() else min(MOST_DEFAULT_WORKERS, os.cpu_count() or 1)


def workers() -> int:
    """GPU tasks at a time, as WORKERS says."""
    given = os.environ.get(WORKERS, "").strip()
    return int(given) if given.isdigit() and int(given) else default_workers()


def gib(n_bytes: float) -> str:
    """Bytes as text."""
    return f"{n_bytes / GIB:.1f} GiB"


KILLED = (-9, 128 + 9)
"""Exit status of a program that was killed by SIGKILL: to Python, and to a shell."""
_SIGNS = ("can't allocate memory", "annot allocate memory", "out of memory", "failed to map segment")
"""Of PyTorch's allocators and of the loader of libraries."""
_ASKED = re.compile(r"(?:tried to allocate|allocate) ([\d.]+ ?(?:bytes|[KMGT]i?B))")


def out_of_memory(what: str, cause: BaseException | str = "") -> str:
    """The message of work that ended because memory ran out. cause: an error that may say how much was wanted."""
    asked = _ASKED.search(str(cause))
    given = workers()
    fewer = f"set {WORKERS}=1 (now {given} tasks run at a time), " if given > 1 else ""
    return (
        f"{what}: memory ran out{f' when {asked[1]} more were needed' if asked else ''}; there are "
        f"{memory_limit().describe()}; {fewer}give it more memory or take a smaller model; finished parts are kept"
    )


def is_out_of_memory(error: BaseException) -> bool:
    """True for an error of an allocation that failed, in Python or PyTorch, or of a worker process that was killed."""
    if isinstance(error, MemoryError | BrokenExecutor):
        return True
    text = str(error)
    return isinstance(error, RuntimeError | ImportError) and any(sign in text for sign in _SIGNS)


def group_kills() -> int:
    """Processes of this control group and those above that the kernel killed because memory ran out, so far."""
    killed = 0
    for folder, _ in _groups():
        for name in ("memory.events", "memory.oom_control"):
            found = re.search(r"^oom_kill (\d+)$", _text(folder / name), re.MULTILINE)
            killed = max(killed, int(found[1]) if found else 0)
    return killed


def _group_limits() -> Iterator[MemoryLimit]:
    for folder, name in _groups():
        written = _text(folder / name).strip()
        if written.isdigit() and int(written) < _UNLIMITED:
            yield MemoryLimit(int(written), f"limit of a control group, {folder / name}")


def _groups() -> Iterator[tuple[Path, str]]:
    """Folder of each control group that this process is in, from the innermost to the root, and its limit's file.

    A limit holds for all groups below; a container sees its own group as the root, or the path of the host.
    """
    named = [line.split(":", 2) for line in _text(ROOT / "proc/self/cgroup").splitlines() if line.count(":") >= 2]
    for root, mount, kind, options in _mounts():
        if kind == "cgroup2":
            paths, file = [path for number, _, path in named if number == "0"], _V2_FILE
        elif kind == "cgroup" and "memory" in options:
            paths, file = [path for _, names, path in named if "memory" in names.split(",")], _V1_FILE
        else:
            continue
        for path in paths:
            inside = Path(path.removeprefix(root.rstrip("/")).lstrip("/"))
            folders = [inside, *inside.parents] if ".." not in inside.parts else [Path()]
            yield from ((mount / folder, file) for folder in folders if (mount / folder).is_dir())


def _mounts() -> Iterator[tuple[str, Path, str, list[str]]]:
    """Root within the file system, place, type and options of each mount (proc(5), mountinfo)."""
    for line in _text(ROOT / "proc/self/mountinfo").splitlines():
        before, separator, after = line.partition(" - ")
        fields, rest = before.split(" "), after.split(" ")
        if separator and len(fields) > 4 and len(rest) > 2:
            root, place = (re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), one) for one in fields[3:5])
            yield root, ROOT / place.lstrip("/"), rest[0], rest[2].split(",")


def _slurm_limits() -> Iterator[MemoryLimit]:
    """What Slurm gave to the job on this node; 0 means all of the node's memory."""
    for variable, times in _SLURM:
        found = re.fullmatch(r"(\d+)([KMGT]?)B?", os.environ.get(variable, "").strip().upper())
        number = os.environ.get(times, "1") if times else "1"
        if found and int(found[1]) and number.isdigit() and int(number):
            yield MemoryLimit(int(found[1]) * _SLURM_UNITS[found[2]] * int(number), f"limit of Slurm, {variable}")


def _address_limits() -> Iterator[MemoryLimit]:
    """What `ulimit -v` leaves beside the libraries that are loaded, rounded so that it is the same each time."""
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft == resource.RLIM_INFINITY:
        return
    pages = int((_text(ROOT / "proc/self/statm").split() or ["0"])[0])
    mapped = -(-pages * os.sysconf("SC_PAGE_SIZE") // (GIB // 4)) * (GIB // 4)
    yield MemoryLimit(max(soft - mapped, 0), f"ulimit -v of {gib(soft)}, less {gib(mapped)} of libraries")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""
