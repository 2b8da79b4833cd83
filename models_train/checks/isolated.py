"""The process in which a program that a model wrote meets its tests. Started by `code_tests`, in namespaces of its own.

`python -I -S isolated.py USER FOLDER` reads a request from standard input, gives up all rights, runs program and tests,
and writes the outcome to standard output, which the program does not have. USER: `root` where root started it, else
`user`. FOLDER: an empty one, for root. Standard library only. What cannot be given up is an error: nothing runs then.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import sys
from typing import Any

CPU_SECONDS = 5
MEMORY_BYTES = 1 << 30
FILE_BYTES = 1 << 20
OPEN_FILES = 64
NOBODY = 65534
_BIND = 4096
_MOUNT_SETATTR, _AT_FDCWD, _AT_RECURSIVE, _READ_ONLY = 442, -100, 0x8000, 1
_NEW_USERS = 0x10000000
_NO_NEW_PRIVILEGES, _PARENT_DEATH_SIGNAL, _SIGKILL = 38, 1, 9
_REACHED_OUT = (OSError, MemoryError)
"""What a program gets that asks for files, processes, network or memory that it may not have."""


class _MountAttributes(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "users")]


def give_up_rights(is_root: bool, folder: str) -> None:
    """Make all files read-only, set limits, and leave user and capabilities behind. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if is_root:
        _show_library(libc, folder)
    read_only = _MountAttributes(_READ_ONLY, 0, 0, 0)
    size = ctypes.sizeof(read_only)
    _must(libc.syscall(_MOUNT_SETATTR, _AT_FDCWD, b"/", _AT_RECURSIVE, ctypes.byref(read_only), size))
    limits = {
        # One limit for both: the first process of a namespace ignores the signal of the softer one.
        resource.RLIMIT_CPU: CPU_SECONDS,
        resource.RLIMIT_AS: MEMORY_BYTES,
        resource.RLIMIT_FSIZE: FILE_BYTES,
        resource.RLIMIT_NOFILE: OPEN_FILES,
        resource.RLIMIT_CORE: 0,
    }
    for name, value in limits.items():
        resource.setrlimit(name, (value, value))
    if is_root:  # whom no limit of processes binds
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    else:  # a further namespace of users, which has no rights over the mounts of this one
        _must(libc.unshare(_NEW_USERS))
    _must(libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0))
    _must(libc.prctl(_PARENT_DEATH_SIGNAL, _SIGKILL, 0, 0, 0))
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


def _show_library(libc: ctypes.CDLL, folder: str) -> None:
    """Show Python's library in a folder, for a user who may not look into root's."""
    library = os.path.dirname(os.__file__)
    _must(libc.mount(library.encode(), folder.encode(), None, _BIND, None))
    sys.path[:] = [place.replace(library, folder) for place in sys.path]
    for module in list(sys.modules.values()):
        if hasattr(module, "__path__"):
            module.__path__ = [place.replace(library, folder) for place in module.__path__]
    sys.path_importer_cache.clear()


def _must(status: int) -> None:
    if status != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def outcome(program: str, tests: list[str]) -> dict[str, Any]:
    """How many tests pass, what the first failure was, and what the program reached out for."""
    own: dict[str, Any] = {"__name__": "__main__"}
    n_passed, failure = 0, None
    try:
        exec(compile(program, "<response>", "exec"), own)
        for test in tests:
            try:
                exec(compile(test, "<test>", "exec"), dict(own))
                n_passed += 1
            except _REACHED_OUT:
                raise
            except BaseException as error:
                failure = failure or _said(error)
    except _REACHED_OUT as error:
        return {"reached_out": _said(error)}
    except BaseException as error:
        failure = _said(error)
    return {"passed": n_passed, "failure": failure}


def _said(error: BaseException) -> str:
    try:
        text = str(error).strip().splitlines()[:1]
    except BaseException:  # a program's own class
        text = []
    return ": ".join([type(error).__name__, *text])[:200]


def main() -> None:
    """Answer one request."""
    request = json.load(sys.stdin)
    answers = os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    give_up_rights(sys.argv[1] == "root", sys.argv[2])
    found = outcome(request["program"], request["tests"])
    os.write(answers, (request["key"] + json.dumps(found)).encode())
    os._exit(0)


if __name__ == "__main__":
    main()
