"""Whether a response follows its prompt's instructions, by the checkers of IFEval in lm-evaluation-harness.

The library runs in a worker process, where it reaches no network: it would download `punkt_tab` while it is imported,
and checkers that need it have the status `needs punkt_tab` where it is missing. Every checker runs twice, each time
with its own seeds of `random` and langdetect; a checker whose two results differ is `unstable`. A checker that would
draw a part of its instruction at random, because the arguments do not fit it (a letter that is none, a number below 0),
does not run. Prompts of IFEval that are known to be wrong are not checked.
"""

from __future__ import annotations

import json
import logging
import random
import re
import resource
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from multiprocessing.connection import Connection
from typing import Any, Self

from models_train.checks.verdict import NOT_APPLICABLE, OK, Verdict
from models_train.checks.worker import Worker, serve
from models_train.errors import first_line
from models_train.study.agentic import INSTRUCTION_KINDS, InstructionKind

WRONG_PROMPTS = {
    2078: "it asks for exactly one bullet point and for a few",
    337: "it asks for 400 words, and its arguments for 336",
    30: "it has one instruction twice, and lacks the one for small letters",
}
"""Prompts of IFEval whose instructions are wrong, by key (google-research, issue 3103 and pull request 3361)."""
UNSTABLE = "unstable"
UNKNOWN = "error: unknown instruction"
NO_LANGUAGE = "error: the language cannot be told"
SECONDS = 60.0
"""Time for all instructions of a response, in seconds."""
MEMORY_BYTES = 4 << 30
_RESOURCE = re.compile(r"Resource\s+'?(?:\x1b\[\d+m)*(\w+)")
_LANGUAGE = ("language:response_language", "change_case:english_capital", "change_case:english_lowercase")
"""Instructions whose checker counts a text whose language cannot be told as followed."""


@dataclass(frozen=True)
class Outcome:
    """What a checker finds of one instruction. status: ok, or why it has no result. strict, loose: whether followed."""

    instruction: str
    status: str
    strict: bool | None = None
    loose: bool | None = None


class Instructions:
    """Checks responses, one at a time, in a worker process that starts with the first."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._worker = Worker(_serve, "lm_eval's IFEval", "a checker", seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *ended: object) -> None:
        self._worker.__exit__(*ended)

    def check(self, text: str, gold: str | None) -> dict[InstructionKind, Verdict]:
        """The verdict of each check. gold: of a prompt whose gold_kind is `ifeval`.

        Raises RuntimeError where no worker starts.
        """
        asked = json.loads(gold or "{}")
        if reason := WRONG_PROMPTS.get(asked.get("key")):
            return dict.fromkeys(INSTRUCTION_KINDS, Verdict(NOT_APPLICABLE, detail=f"the prompt is wrong: {reason}"))
        found, problem, seconds = self._worker.ask([asked, text])
        if problem is not None:
            return dict.fromkeys(INSTRUCTION_KINDS, Verdict(problem, seconds=seconds))
        return verdicts([Outcome(**one) for one in found], seconds)


def verdicts(outcomes: Sequence[Outcome], seconds: float = 0.0) -> dict[InstructionKind, Verdict]:
    """The verdict of each check by the outcomes of all instructions of a prompt: one that has no result leaves the
    response without a value, and gives it its status."""
    if not outcomes:
        return dict.fromkeys(INSTRUCTION_KINDS, Verdict(NOT_APPLICABLE, detail="the prompt has no instructions"))
    failed = [one for one in outcomes if one.status != OK]
    found: dict[InstructionKind, Verdict] = {}
    for check in INSTRUCTION_KINDS:
        which = "strict" if "strict" in check else "loose"
        detail = "; ".join(
            f"{one.instruction}: {one.status if one.status != OK else 'followed' if getattr(one, which) else 'not'}"
            for one in outcomes
        )
        if failed:
            found[check] = Verdict(failed[0].status, None, detail[:500], seconds)
            continue
        followed = [bool(getattr(one, which)) for one in outcomes]
        value = float(all(followed)) if check.endswith("_prompt") else sum(followed) / len(followed)
        found[check] = Verdict(OK, value, detail[:500], seconds)
    return found


def versions(text: str) -> list[str]:
    """The versions of a response that the loose check looks at, distinct, the response itself first: with and without
    first line, last line and asterisks."""
    lines = text.split("\n")
    cut = ["\n".join(one).strip() for one in (lines[1:], lines[:-1], lines[1:-1])]
    kept = [text, text.replace("*", ""), *cut, *(one.replace("*", "") for one in cut)]
    return [one for one in dict.fromkeys(kept) if one.strip()]


def _serve(connection: Connection) -> None:
    """Answer requests of instructions and a text, until there are no more."""
    try:
        with offline():
            from langdetect import DetectorFactory
            from lm_eval.tasks.ifeval.instructions_registry import INSTRUCTION_DICT
    except ModuleNotFoundError as error:
        status = f"needs {error.name}"
        serve(connection, lambda request: [vars(Outcome(str(one), status)) for one in _listed(request[0])])
        return
    logging.disable(logging.CRITICAL)  # checkers note each text whose language they cannot tell
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))

    def seed(number: int, text: str) -> None:
        DetectorFactory.seed = number
        random.seed(zlib.crc32(text.encode("utf-8", "surrogatepass")) + number)

    def reply(request: tuple[dict[str, Any], str]) -> list[dict[str, Any]]:
        asked, text = request
        return [vars(one) for one in outcomes_of(asked, text, INSTRUCTION_DICT, seed)]

    serve(connection, reply)


@contextmanager
def offline() -> Iterator[None]:
    """No download while the library is imported; what it prints of one goes nowhere."""
    import nltk

    download = nltk.download
    nltk.download = lambda *_, **__: False
    try:
        with redirect_stdout(StringIO()):
            yield
    finally:
        nltk.download = download


def _listed(asked: Mapping[str, Any]) -> list[Any]:
    return list(asked.get("instruction_id_list") or [])


def outcomes_of(
    asked: Mapping[str, Any], text: str, checkers: Mapping[str, Any], seed: Callable[[int, str], None]
) -> list[Outcome]:
    """The outcome of each instruction of a prompt. checkers: class of the checker by instruction.

    seed: sets the seeds of a run (0 or 1) on a text: of langdetect, and of `random`, by the run and the text.
    """
    found = []
    for place, name in enumerate(_listed(asked)):
        if name not in checkers:
            found.append(Outcome(str(name)[:100], UNKNOWN))
            continue
        arguments = {key: value for key, value in asked["kwargs"][place].items() if value is not None}
        try:
            found.append(_outcome(name, arguments, asked.get("prompt", ""), text, checkers[name], seed))
        except LookupError as error:
            missing = _RESOURCE.search(str(error)) if type(error) is LookupError else None
            found.append(Outcome(name, f"needs {missing[1]}" if missing else _said(error)))
        except (Exception, RecursionError) as error:
            found.append(Outcome(name, _said(error)))
    return found


def _said(error: BaseException) -> str:
    return f"error: {type(error).__name__}: {first_line(error)}"[:200]


def _outcome(
    name: str,
    arguments: Mapping[str, Any],
    prompt: str,
    text: str,
    checker: Callable[[str], Any],
    seed: Callable[[int, str], None],
) -> Outcome:
    """The outcome of one instruction, from two runs: the second one looks at the response and at the version that
    decided again. Raises what the checker raises."""

    def built(number: int) -> Callable[[str], bool] | None:
        """The checker of a run; None where a part of its instruction is drawn at random."""
        seed(number, text)
        instruction, before = checker(name), random.getstate()
        instruction.build_description(**arguments)
        if "prompt" in (instruction.get_instruction_args() or {}):
            instruction.build_description(prompt=prompt)
        return None if random.getstate() != before else lambda one: bool(instruction.check_following(one))

    first, second = built(0), built(1)
    if first is None or second is None:
        return Outcome(name, f"error: kwargs do not fit: a part of {name} would be drawn at random")
    if not text.strip():
        return Outcome(name, OK, False, False)
    seed(0, text)
    strict = first(text)
    decided = text if strict else next((one for one in versions(text)[1:] if first(one)), None)
    seed(1, text)
    again = second(text)
    if again != strict or (decided not in (None, text) and not second(str(decided))):
        return Outcome(name, UNSTABLE)
    if name in _LANGUAGE and decided is not None and not _has_language(decided):
        return Outcome(name, NO_LANGUAGE)
    return Outcome(name, OK, strict, decided is not None)


def _has_language(text: str) -> bool:
    from langdetect import LangDetectException, detect

    try:
        detect(text)
    except LangDetectException:
        return False
    return True
