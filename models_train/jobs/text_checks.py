"""Checks of many texts at once: those that need a library run in worker processes, one per core."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from models_train.checks.instructions import Instructions
from models_train.checks.math_answer import MathAnswers
from models_train.checks.plain import plain_check
from models_train.checks.verdict import NOT_APPLICABLE, Verdict
from models_train.checks.worker import several
from models_train.jobs.command_line import default_processes
from models_train.reward_benchmarks.instructions import IFEVAL
from models_train.study.agentic import INSTRUCTION_KINDS, Check

NO_TEXT = Verdict(NOT_APPLICABLE, detail="there is no text")
Verdicts = dict[str, list[Verdict]]
"""By the name of the check, in the order of the texts."""


@dataclass(frozen=True)
class Asked:
    """A text to check: None where there is none. gold_kind, gold: of its prompt. ended: why its sampling ended."""

    text: str | None
    gold_kind: str | None = None
    gold: str | None = None
    ended: str | None = None


def checked(checks: Sequence[Check], asked: Sequence[Asked]) -> Verdicts:
    """What checks of other kinds than `values` find of texts. Raises RuntimeError where no worker starts."""
    found: Verdicts = {}
    of_instructions = [one for one in checks if one.of in INSTRUCTION_KINDS]
    if of_instructions:
        every = _of_instructions(asked)
        found |= {one.name: [verdict[one.of] for verdict in every] for one in of_instructions}
    for check in checks:
        if check.of == "math_answer":
            found[check.name] = _of_answers(asked)
        elif check not in of_instructions:
            test = plain_check(check)
            found[check.name] = [NO_TEXT if one.text is None else test(one.text, one.ended) for one in asked]
    return found


def _of_instructions(asked: Sequence[Asked]) -> list[Mapping[str, Verdict]]:
    def every(verdict: Verdict) -> Mapping[str, Verdict]:
        return dict.fromkeys(INSTRUCTION_KINDS, verdict)

    return [
        found if isinstance(found, Mapping) else every(found)
        for found in _by_workers(Instructions, asked, IFEVAL, "instructions")
    ]


def _of_answers(asked: Sequence[Asked]) -> list[Verdict]:
    return _by_workers(MathAnswers, asked, "math_answer", "right answer")


def _by_workers(make: Callable[[], Any], asked: Sequence[Asked], kind: str, what: str) -> list[Any]:
    """What a checker finds of the texts whose prompts have its kind of gold; no worker starts for none."""
    missing = Verdict(NOT_APPLICABLE, detail=f"the prompt has no {what}")
    found: list[Any] = [NO_TEXT if one.text is None else missing for one in asked]
    places = [place for place, one in enumerate(asked) if one.text is not None and one.gold_kind == kind]
    if not places:
        return found
    n = min(default_processes(), len(places))
    with several(make, n) as use, ThreadPoolExecutor(n) as pool:

        def check(place: int) -> Any:
            return use(lambda checker: checker.check(asked[place].text, asked[place].gold))

        for place, verdict in zip(places, pool.map(check, places), strict=True):
            found[place] = verdict
    return found
