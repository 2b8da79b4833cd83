"""The answer of a problem of mathematics, compared with the right one by math-verify.

The library takes long over some formulas, and ends them by a signal of the main thread: here each formula goes to a
worker process instead, which is killed when its time is over.
"""

from __future__ import annotations

import json
import logging
import re
import resource
import time
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, Self

from models_train.checks.verdict import NOT_APPLICABLE, OK, TIMEOUT, Verdict
from models_train.errors import first_line

SECONDS = 5.0
"""Time that a worker has for an answer, in seconds."""
START_SECONDS = 120.0
"""Time that a worker has to load the library, in seconds."""
MEMORY_BYTES = 4 << 30
_MARKED = ("$", "\\boxed", "\\(", "\\[")
"""Marks of formulas in a text."""
_WORDS = re.compile(r"[^\W\d_]{2,}(?:[\s-]+[^\W\d_]+)*[.!?]?")
"""A right answer that is words: math-verify would read each letter as a variable."""


def answer_of(gold: str | None) -> str | None:
    """The right answer of a prompt as math-verify reads it: its gold is a text, a number or an object with `answer`;
    None for any other."""
    try:
        found = json.loads(gold or "null")
    except ValueError:
        return None
    if isinstance(found, dict):
        found = found.get("answer")
    if isinstance(found, bool) or not isinstance(found, str | int | float):
        return None
    text = str(found).strip()
    if not text or _WORDS.fullmatch(text):
        return None
    return text if any(mark in text for mark in _MARKED) else f"${text}$"


class MathAnswers:
    """Compares answers, one at a time, in a worker process that starts with the first."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._worker: Any = None
        self._connection: Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def check(self, text: str, gold: str | None) -> Verdict:
        """1 where a response has the right answer, else 0. Raises RuntimeError where no worker starts."""
        answer = answer_of(gold)
        if answer is None:
            return Verdict(NOT_APPLICABLE, detail="the prompt has no right answer that is a formula")
        connection = self._connection or self._start()
        began = time.monotonic()
        try:
            connection.send_bytes(json.dumps([answer, text]).encode())
            if not connection.poll(self._seconds):
                self._end()
                return Verdict(TIMEOUT, seconds=time.monotonic() - began)
            status, value, detail = json.loads(connection.recv_bytes())
        except (EOFError, OSError):
            self._end()
            return Verdict("error: the comparison ended its process", seconds=time.monotonic() - began)
        return Verdict(status, value, detail, time.monotonic() - began)

    def _start(self) -> Connection:
        context = get_context("spawn")
        self._connection, other = context.Pipe()
        self._worker = context.Process(target=_serve, args=(other,), daemon=True)
        self._worker.start()
        other.close()
        if not self._connection.poll(START_SECONDS):
            self._end()
            raise RuntimeError("math-verify does not load")
        self._connection.recv_bytes()
        return self._connection

    def _end(self) -> None:
        if self._worker is not None:
            self._worker.kill()
            self._worker.join()
        if self._connection is not None:
            self._connection.close()
        self._worker = self._connection = None


def _serve(connection: Connection) -> None:
    """Answer requests of a right answer and a text, until there are no more."""
    from math_verify import parse, verify  # loads for seconds, here alone

    logging.disable(logging.CRITICAL)  # the library notes each text that it cannot read
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))

    def compare(answer: str, text: str) -> tuple[str, float | None, str | None]:
        right = parse(answer, parsing_timeout=None)
        if all(isinstance(one, str) for one in right):
            return NOT_APPLICABLE, None, f"math-verify cannot read the right answer {answer}"
        found = parse(text, parsing_timeout=None)
        if not found:
            return OK, 0.0, "no answer found"
        is_right = verify(right, found, timeout_seconds=None)
        return OK, float(is_right), f"found {found[-1]}"[:200]

    connection.send_bytes(b"ready")
    with suppress(EOFError, OSError):
        while True:
            request = json.loads(connection.recv_bytes())
            try:
                verdict = compare(*request)
            except (Exception, RecursionError) as error:
                verdict = f"error: {type(error).__name__}: {first_line(error)}"[:200], None, None
            connection.send_bytes(json.dumps(verdict).encode())
