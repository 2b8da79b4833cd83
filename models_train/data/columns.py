"""What a value of a column may be. A parser returns the value to use, or raises Wrong with words for a person."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from models_train.data.records import Prompt, Role, Turn

Parser = Callable[[Any], Any]

LONGEST_SHOWN = 60
_TURN_MARK = re.compile(r"\n<extra_id_1>(Assistant|User)\n")


class Wrong(ValueError):
    """A value cannot be used: what is wrong with it, and what to do."""


@dataclass(frozen=True)
class Column:
    """A column of a data set. An optional one may be missing, and is None then."""

    parse: Parser
    is_optional: bool = False


Columns = Mapping[str, Column]


def shown(value: Any) -> str:
    """A value as messages show it, shortened."""
    text = ascii(value)
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 3] + "..."


def text(value: Any) -> str:
    """Any text that can be written as UTF-8; empty text, too."""
    if value is None:
        raise Wrong("is null; give it a text, or remove the row")
    if not isinstance(value, str):
        raise Wrong(f"{shown(value)} is not text; put it in quotes, or remove the row")
    if not is_unicode(value):
        raise Wrong("holds half a character (a lone surrogate); mend the text, or remove the row")
    return value


def is_unicode(value: str) -> bool:
    """True where a text can be written as UTF-8."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def filled_text(value: Any) -> str:
    """Text with something in it; blanks are kept."""
    if not text(value).strip():
        raise Wrong("is empty; fill it in, or remove the row")
    return str(value)


def whole_number(lowest: int, highest: int) -> Parser:
    """Parser of whole numbers of a range, both ends included; 3.0 is one."""

    def parse(value: Any) -> int:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or value != value or value % 1 or not lowest <= value <= highest:
            raise Wrong(f"{shown(value)} is not a whole number from {lowest} to {highest}; mend it, or remove the row")
        return int(value)

    return parse


def marked_prompt(value: Any) -> Prompt:
    """HelpSteer2's prompt: turns joined by `\\n<extra_id_1>Assistant\\n` and `\\n<extra_id_1>User\\n`.

    The first turn is the user's, turns alternate, the last is the user's. Turns of earlier rounds may be empty.
    """
    first, *rest = _TURN_MARK.split(filled_text(value))
    turns = [Turn("user", first)]
    for who, said in zip(rest[::2], rest[1::2], strict=True):
        turns.append(Turn("assistant" if who == "Assistant" else "user", said))
    return _conversation(tuple(turns))


def plain_or_turns(value: Any) -> Prompt:
    """RewardBench's prompt: plain text is one turn of the user; or a list of {role, content}."""
    if isinstance(value, str):
        return (Turn("user", filled_text(value)),)
    if not isinstance(value, list) or not value:
        raise Wrong(f"{shown(value)} is neither text nor a list of turns; mend it, or remove the row")
    return _conversation(tuple(_turn(number, turn) for number, turn in enumerate(value, 1)))


def _turn(number: int, value: Any) -> Turn:
    if not isinstance(value, Mapping) or value.get("role") not in get_args(Role):
        raise Wrong(f"turn {number} has no role of user, assistant or system; give it one, or remove the row")
    return Turn(value["role"], text(value.get("content")))


def _conversation(turns: Prompt) -> Prompt:
    spoken = [turn.role for turn in turns if turn.role != "system"]
    if spoken != (["user", "assistant"] * len(spoken))[: len(spoken)] or not spoken or turns[-1].role != "user":
        roles = ", ".join(turn.role for turn in turns)
        raise Wrong(
            f"its turns are {shown(roles)}; they must alternate, begin with the user and end with the user: mend the "
            "turns, or remove the row"
        )
    if not any(turn.text.strip() for turn in turns):
        raise Wrong("is empty; fill it in, or remove the row")
    return turns
