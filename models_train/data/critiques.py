"""Critiques of responses: given in a file, or made from ratings by a template; and the conversation that asks for one.

A critique is the last turn of a conversation: prompt, response, a request by the user, critique. A critique may end
with a score, such as `Score: 12.`, by which it can be compared with the label of a pair.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from models_train.data.conversations import plain_or_turns
from models_train.data.records import ATTRIBUTES, Prompt, Rating, Turn, prompt_id
from models_train.data.rows import Column, Form, filled_text
from models_train.data.sources import open_data
from models_train.errors import UserError
from models_train.study.training import DataSource

CRITIQUES = (
    Form({"prompt": Column(plain_or_turns), "response": Column(filled_text), "critique": Column(filled_text)}),
)
"""Columns of a file of critiques."""
_SCORE = re.compile(r"\bscore:?\s*(-?\d+(?:\.\d+)?)", re.IGNORECASE)
_GOOD, _MIDDLE, _MOST = 3, 2, 4
"""Lowest rating that is good, and that is half good; highest rating."""


@dataclass(frozen=True)
class Critique:
    """A critique of a response to a prompt."""

    prompt: Prompt
    response: str
    text: str

    @property
    def prompt_id(self) -> str:
        """Name of the prompt by its content."""
        return prompt_id(self.prompt)


def load_critiques(source: DataSource, study_folder: Path) -> list[Critique]:
    """The critiques of a file, in the order of its rows. Raises UserError for rows that cannot be used, or none."""
    data = open_data(source, study_folder)
    found = [
        Critique(row.values["prompt"], row.values["response"], row.values["critique"].strip())
        for row in data.rows(CRITIQUES)
    ]
    if not found:
        raise UserError(f"{data.source.label}: holds no critiques; add rows of prompt, response and critique")
    return found


def by_response(critiques: Iterable[Critique]) -> dict[tuple[str, str], str]:
    """Text of a critique by prompt (`prompt_id`) and response; of several the first."""
    found: dict[tuple[str, str], str] = {}
    for one in critiques:
        found.setdefault((one.prompt_id, one.response.strip()), one.text)
    return found


def critique_of(known: Mapping[tuple[str, str], str], prompt: Prompt, response: str) -> str | None:
    """The critique of a response among those of `by_response`; None where there is none."""
    return known.get((prompt_id(prompt), response.strip()))


def rated_critiques(ratings: Iterable[Rating]) -> list[Critique]:
    """Critiques of rated responses, by the template."""
    return [Critique(one.prompt, one.response, templated(one.attributes)) for one in ratings]


def templated(attributes: Sequence[float]) -> str:
    """A critique that says what the five ratings (ATTRIBUTES, 0 to 4) say, complexity aside.

    It ends with a score from 0 to 16: helpfulness + correctness + coherence + (4 - verbosity).
    """
    rated = dict(zip(ATTRIBUTES, attributes, strict=True))
    right = _worded(rated["correctness"], "It is right.", "It is partly right.", "It is wrong.")
    helps = _worded(rated["helpfulness"], "It helps.", "It helps a little.", "It does not help.")
    clear = _worded(rated["coherence"], "It is clear.", "It is partly clear.", "It is not clear.")
    score = rated["helpfulness"] + rated["correctness"] + rated["coherence"] + _MOST - rated["verbosity"]
    return f"{right} {helps} {clear} Wordy: {rated['verbosity']:g}. Score: {score:g}."


def _worded(rating: float, good: str, middle: str, bad: str) -> str:
    return good if rating >= _GOOD else middle if rating >= _MIDDLE else bad


def own_score(critique: str) -> float | None:
    """The score that a critique states last; None where it states none."""
    found = _SCORE.findall(critique)
    return float(found[-1]) if found else None


def asking(prompt: Prompt, response: str, request: str) -> Prompt:
    """The conversation that a critique of a response answers: prompt, response, request."""
    return (*prompt, Turn("assistant", response), Turn("user", request))
