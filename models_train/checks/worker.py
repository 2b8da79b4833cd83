"""A worker process that answers requests one at a time, and is killed when its time for an answer is over."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any, Self, TypeVar

from models_train.checks.verdict import TIMEOUT

START_SECONDS = 120.0
"""Time that a worker has to load its library, in seconds."""


class Worker:
    """Starts with the first request, and again after one that it was killed for.

    target: a function of a module that calls `serve`; the process calls it with its end of the connection.
    library: what it loads, and work: what it does, for messages. seconds: for an answer.
    """

    def __init__(self, target: Callable[[Connection], None], library: str, work: str, seconds: float) -> None:
        self._target, self._library, self._work, self._seconds = target, library, work, seconds
        self._process: Any = None
        self._connection: Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def ask(self, request: Any) -> tuple[Any, str | None, float]:
        """The answer, or None and the status that says why there is none; and the seconds that it took.

        request: of values that JSON holds. Raises RuntimeError where no worker starts.
        """
        connection = self._connection or self._start()
        began = time.monotonic()
        try:
            connection.send_bytes(json.dumps(request).encode())
            if not connection.poll(self._seconds):
                self._end()
                return None, TIMEOUT, time.monotonic() - began
            return json.loads(connection.recv_bytes()), None, time.monotonic() - began
        except (EOFError, OSError):
            self._end()
            return None, f"error: {self._work} ended its process", time.monotonic() - began

    def _start(self) -> Connection:
        context = get_context("spawn")
        self._connection, other = context.Pipe()
        self._process = context.Process(target=self._target, args=(other,), daemon=True)
        self._process.start()
        other.close()
        if not self._connection.poll(START_SECONDS):
            self._end()
            raise RuntimeError(f"{self._library} does not load")
        try:
            self._connection.recv_bytes()
        except EOFError:
            self._end()
            raise RuntimeError(f"{self._library} does not load") from None
        return self._connection

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
        if self._connection is not None:
            self._connection.close()
        self._process = self._connection = None


def serve(connection: Connection, reply: Callable[[Any], Any]) -> None:
    """Say that the worker is ready, then answer requests until there are no more."""
    connection.send_bytes(b"ready")
    with suppress(EOFError, OSError):
        while True:
            request = json.loads(connection.recv_bytes())
            connection.send_bytes(json.dumps(reply(request)).encode())


Checker = TypeVar("Checker", bound=AbstractContextManager[Any])


@contextmanager
def several(make: Callable[[], Checker], n: int) -> Iterator[Callable[[Callable[[Checker], Any]], Any]]:
    """Checkers for several threads at once: a function that calls another one with a checker that is idle."""
    idle: SimpleQueue[Checker] = SimpleQueue()
    with ExitStack() as workers:
        for _ in range(n):
            idle.put(workers.enter_context(make()))

        def use(check: Callable[[Checker], Any]) -> Any:
            one = idle.get()
            try:
                return check(one)
            finally:
                idle.put(one)

        yield use
