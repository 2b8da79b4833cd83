"""Checks of many texts at once: those that need a library run in worker processes, one per core."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Self

from models_train.checks.instructions import Instructions
from models_train.checks.math_answer import MathAnswers
from models_train.checks.plain import plain_check
from models_train.checks.verdict import NOT_APPLICABLE, Verdict
from models_train.checks.worker import several
from models_train.jobs.command_line import default_processes
from models_train.reward_benchmarks.instructions import IFEVAL
from models_train.study.agentic import INSTRUCTION_KINDS, Check

TEXTS_OF_A_WORKER = 100
"""Texts that are worth the start of a further worker, which takes seconds."""
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


class TextChecks:
    """Checks texts; worker processes start with the first texts that need them, and are kept for others."""

    def __init__(self) -> None:
        self._workers = ExitStack()
        self._use: dict[Callable[[], Any], tuple[int, Callable[[Callable[[Any], Any]], Any]]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *ended: Any) -> None:
        self._workers.__exit__(*ended)

    def checked(self, checks: Sequence[Check], asked: Sequence[Asked]) -> Verdicts:
        """What checks of other kinds than `values` find of texts. Raises RuntimeError where no worker starts."""
        found: Verdicts = {}
        of_instructions = [one for one in checks if one.of in INSTRUCTION_KINDS]
        if of_instructions:
            every = self._by_workers(Instructions, asked, IFEVAL, "instructions")
            for one in of_instructions:
                found[one.name] = [each[one.of] if isinstance(each, Mapping) else each for each in every]
        for check in checks:
            if check.of == "math_answer":
                found[check.name] = self._by_workers(MathAnswers, asked, "math_answer", "right answer")
            elif check not in of_instructions:
                test = plain_check(check)
                found[check.name] = [NO_TEXT if one.text is None else test(one.text, one.ended) for one in asked]
        return found

    def _by_workers(self, make: Callable[[], Any], asked: Sequence[Asked], kind: str, what: str) -> list[Any]:
        """What a checker finds of the texts whose prompts have its kind of gold; no worker starts for none."""
        missing = Verdict(NOT_APPLICABLE, detail=f"the prompt has no {what}")
        found: list[Any] = [NO_TEXT if one.text is None else missing for one in asked]
        places = [place for place, one in enumerate(asked) if one.text is not None and one.gold_kind == kind]
        if not places:
            return found
        n = min(default_processes(), 1 + len(places) // TEXTS_OF_A_WORKER)
        if make not in self._use or self._use[make][0] < n:
            self._use[make] = n, self._workers.enter_context(several(make, n))
        use = self._use[make][1]

        def check(place: int) -> Any:
            return use(lambda checker: checker.check(asked[place].text, asked[place].gold))

        with ThreadPoolExecutor(n) as pool:
            for place, verdict in zip(places, pool.map(check, places), strict=True):
                found[place] = verdict
        return found
