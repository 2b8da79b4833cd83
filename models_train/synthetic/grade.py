"""The lab's judge: the true qualities of any text as a response to a question of the lab, and its true utility.

Sentences without content at the beginning are counted and taken off. What is left is right where the question's pattern
says so; the question's sentence with other names is on the topic, wrong, and well put; one that is false on its face
(numbers for names, words in another order) is on the topic and badly put; a refusal and everything else is off the
topic.
"""

from __future__ import annotations

import hashlib
import re

from models_train.synthetic.preferences import FILLERS, Question, Response, utility
from models_train.synthetic.texts import (
    CLAIMS,
    FUNCTIONS,
    PEOPLE,
    REGIONS,
    REMEDIES,
    THEOREMS,
    THINGS,
    TOWNS,
    VARIABLES,
)

FLAT_SCALE = 0.001
"""Factor of the true utility on half of the prompts, for the teacher whose order is right and whose spread is small."""
_DIGITS = 9
"""Digits of a true utility: equal ones are equal to the last bit, whatever attributes they are the sums of."""
_NAME, _WORD = "[A-Za-z]+", r"\w+"
_NAMES = {*PEOPLE, *TOWNS, *REGIONS, *THEOREMS, *CLAIMS, *REMEDIES, *THINGS, *FUNCTIONS, *VARIABLES}


def grade(question: Question, text: str) -> Response:
    """A text as a response to a question, with its true qualities."""
    rest, n_fillers = text.strip(), 0
    while filler := next((one for one in FILLERS if rest == one or rest.startswith(f"{one} ")), None):
        rest, n_fillers = rest.removeprefix(filler).lstrip(), n_fillers + 1
    is_right = question.is_right(rest)
    is_ordered = is_right or _is(rest, _well_put(question))
    is_on_topic = is_ordered or _is(rest, _badly_put(question)) or _is_repeated(question, rest)
    return Response(text, is_right, is_on_topic, is_ordered, n_fillers)


def true_utility(question: Question, text: str) -> float:
    """The true utility of a text."""
    return round(utility(grade(question, text)), _DIGITS)


def flat_utility(utility: float, prompt_id: str, seed: int) -> float:
    """The utility, times FLAT_SCALE on half of the prompts, by a hash of prompt and seed: within a prompt the order is
    the same, ties included."""
    is_flat = hashlib.sha256(f"{prompt_id}/{seed}".encode()).digest()[0] < 128
    return utility * FLAT_SCALE if is_flat else utility


def _well_put(question: Question) -> str:
    """Pattern of answers with any names; empty where there is none."""
    if question.sentence:
        return _filled(question.sentence, _NAME)
    complied = question.flawed.get("complied")
    return _like(complied.text) if complied else ""


def _badly_put(question: Question) -> str:
    """Pattern of answers that are false on their face; empty where there is none."""
    broken = question.flawed.get("broken")
    if not question.sentence or broken is None:
        return ""
    pattern = _filled(question.sentence, _WORD)
    return pattern if _is(broken.text, pattern) else _like(broken.text)


def _is_repeated(question: Question, text: str) -> bool:
    """True for words of a question that asks for its words in order, as many as there are, in another order."""
    is_asked = not question.sentence and "broken" in question.flawed
    words, wanted = re.findall(_WORD, text), re.findall(_WORD, question.good.text)
    return is_asked and len(words) == len(wanted) and {*words} <= {*wanted} and text == ", ".join(words) + "."


def _is(text: str, pattern: str) -> bool:
    return bool(pattern) and re.fullmatch(pattern, text) is not None


def _filled(sentence: str, name: str) -> str:
    """Pattern of a sentence with a place for each name."""
    return re.escape(sentence).replace(re.escape("{}"), name)


def _like(text: str) -> str:
    """Pattern of a text with any names in place of the lab's."""
    pieces = re.split(rf"\b({_NAME})\b", text)
    return "".join(_NAME if piece in _NAMES else re.escape(piece) for piece in pieces)
