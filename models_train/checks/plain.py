"""Plain checks of a text: whether it is finished, not empty, of some length, or fits a pattern; and the lab's."""

from __future__ import annotations

import re
from collections.abc import Callable

from models_train.checks.verdict import NOT_APPLICABLE, OK, Verdict
from models_train.study.agentic import Check
from models_train.synthetic.grade import NAMES

ENDED = {"stop": 1.0, "length": 0.0}
"""Value of `finished` by why the sampling of a response ended."""
_THOUGHT_MARK = re.compile(r"</?think>")
_WORD = re.compile(r"[A-Za-z]+")
_END_OF_SENTENCE = (".", "!", "?")

PlainCheck = Callable[[str, str | None], Verdict]
"""Takes a text and why its sampling ended, None where that is not known."""


def plain_check(check: Check) -> PlainCheck:
    """The check of a kind that needs nothing but the text."""
    if check.of == "finished":
        return _finished
    if check.of == "pattern":
        pattern = re.compile(str(check.pattern))
        return lambda text, _: _passed(pattern.search(text) is not None)
    if check.of == "length":
        return lambda text, _: _of_length(text, check.at_least, check.at_most)
    test = _TESTS[check.of]
    return lambda text, _: _passed(test(text))


def _passed(value: bool) -> Verdict:
    return Verdict(OK, float(value))


def _finished(_: str, ended: str | None) -> Verdict:
    if ended not in ENDED:
        return Verdict(NOT_APPLICABLE, detail="it is not known why the response ended")
    return Verdict(OK, ENDED[ended])


def _of_length(text: str, at_least: int | None, at_most: int | None) -> Verdict:
    n = len(text.encode("utf-8", "surrogatepass"))
    is_within = (at_least is None or n >= at_least) and (at_most is None or n <= at_most)
    return Verdict(OK, float(is_within), f"{n} bytes")


def has_open_thought(text: str) -> bool:
    """Whether the last mark of thoughts in a text opens some."""
    marks = _THOUGHT_MARK.findall(text)
    return bool(marks) and marks[-1] == "<think>"


def names_three(text: str) -> bool:
    """Whether a text has three different names of the lab, as answers to its questions do, right or wrong."""
    return len(NAMES.intersection(_WORD.findall(text))) >= 3


def ends_with_stop(text: str) -> bool:
    """Whether a text ends as a sentence does."""
    return text.rstrip().endswith(_END_OF_SENTENCE)


_TESTS: dict[str, Callable[[str], bool]] = {
    "not_empty": lambda text: bool(text.strip()),
    "no_open_thought": lambda text: not has_open_thought(text),
    "three_names": names_three,
    "ends_with_stop": ends_with_stop,
}
