"""The end of processes, in time: at Ctrl-C, SIGTERM and SIGHUP of this one, with all that it started."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

import psutil

STOP_SECONDS = 6.0
"""Time that processes have from a stop signal to their end, in seconds; what they started is killed then."""
LAST_SECONDS = 2.0
"""Time that a process has from the end of what it started to its own, in seconds."""
_KILL_SECONDS = 0.5
"""Time that Linux is given to take apart what was killed, in seconds."""
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
INTERRUPTED = 130
"""Exit status of a command that was stopped: as shells report Ctrl-C."""


def descendants() -> list[psutil.Process]:
    """Every process that this one started, directly or through others."""
    return psutil.Process().children(recursive=True)


def tree(pid: int | None) -> list[psutil.Process]:
    """A process and every one that it started; empty where it has ended, or was never begun (None)."""
    try:
        root = psutil.Process(pid or 0)
        return [root, *root.children(recursive=True)] if pid else []
    except psutil.NoSuchProcess:
        return []


def end_processes(
    processes: Sequence[psutil.Process], how: signal.Signals = signal.SIGINT, seconds: float = STOP_SECONDS
) -> None:
    """Send a signal to processes, and SIGKILL to those that are left after some time."""
    send_signal(processes, how)
    left = psutil.wait_procs(processes, seconds)[1]
    send_signal(left, signal.SIGKILL)
    psutil.wait_procs(left, _KILL_SECONDS)


def send_signal(processes: Sequence[psutil.Process], how: signal.Signals) -> None:
    """Send a signal to those of the processes that are still there."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(how)


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Raise KeyboardInterrupt at SIGTERM and SIGHUP as at Ctrl-C, also where a shell started this in the background.

    Such a shell has SIGINT ignored, and programs that are started from here would inherit that. A second signal while
    the first is dealt with has no effect. From the first one on, the process ends in time (`end_in_time`). Without
    effect outside of the main thread, to which Python gives all signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    raised = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        if not raised.is_set():
            raised.set()
            raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in STOP_SIGNALS}
    call_off = end_in_time()
    try:
        yield
    finally:
        if not raised.is_set():
            call_off()
            for number, handler in before.items():
                signal.signal(number, handler)


def end_in_time() -> Callable[[], None]:
    """From now on, a stop signal ends this process within STOP_SECONDS + LAST_SECONDS, whatever it is at.

    Python deals with a signal between two of its own instructions: a backward pass, a query or a wait for another
    program may take longer. Everything on disk survives a kill. For the main thread, where a handler of the signal is
    or will be set; a second call has no effect. Returns a function that calls it off.
    """
    read, write = os.pipe()
    os.set_blocking(write, False)
    former = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    if former != -1:
        signal.set_wakeup_fd(former)
        os.close(read)
        os.close(write)
        return lambda: None

    def call_off() -> None:
        signal.set_wakeup_fd(-1)
        os.close(write)

    threading.Thread(target=_end_after_signal, args=(read,), name="deadline", daemon=True).start()
    return call_off


def _end_after_signal(signals: int) -> None:
    """Wait for a stop signal, and end this process. signals: descriptor with their numbers, closed when called off."""
    with open(signals, "rb", buffering=0) as received:
        while (number := received.read(1)) and number[0] not in STOP_SIGNALS:
            pass
    if not number:
        return
    time.sleep(STOP_SECONDS)
    send_signal(descendants(), signal.SIGKILL)
    time.sleep(LAST_SECONDS)
    os._exit(INTERRUPTED)


def leave(status: int) -> NoReturn:
    """End this process at once: Python would first take apart what it loaded, for seconds on busy cores."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def end_with_parent(parent: int) -> None:
    """End this process, and what it started, within seconds of the parent's end, even by SIGKILL."""

    def watch_parent() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        end_processes(descendants(), signal.SIGTERM)
        os._exit(1)

    threading.Thread(target=watch_parent, name="parent", daemon=True).start()
