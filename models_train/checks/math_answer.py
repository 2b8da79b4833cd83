"""The answer of a problem of mathematics, compared with the right one by math-verify.

The library takes long over some formulas, and ends them by a signal of the main thread: here each formula goes to a
worker process instead, which is killed when its time is over.
"""

from __future__ import annotations

import json
import logging
import re
import resource
from multiprocessing.connection import Connection
from typing import Self

from models_train.checks.verdict import NOT_APPLICABLE, OK, Verdict
from models_train.checks.worker import Worker, serve
from models_train.errors import first_line

SECONDS = 5.0
"""Time that a worker has for an answer, in seconds."""
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
        self._worker = Worker(_serve, "math-verify", "the comparison", seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *ended: object) -> None:
        self._worker.__exit__(*ended)

    def check(self, text: str, gold: str | None) -> Verdict:
        """1 where a response has the right answer, else 0. Raises RuntimeError where no worker starts."""
        answer = answer_of(gold)
        if answer is None:
            return Verdict(NOT_APPLICABLE, detail="the prompt has no right answer that is a formula")
        found, problem, seconds = self._worker.ask([answer, text])
        if problem is not None:
            return Verdict(problem, seconds=seconds)
        status, value, detail = found
        return Verdict(status, value, detail, seconds)


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

    def reply(request: tuple[str, str]) -> tuple[str, float | None, str | None]:
        try:
            return compare(*request)
        except (Exception, RecursionError) as error:
            return f"error: {type(error).__name__}: {first_line(error)}"[:200], None, None

    serve(connection, reply)
