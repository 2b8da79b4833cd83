"""Conversations as data sets write them: plain text, marked text, lists of messages; and two that share a prompt.

A parser returns the value to use, or raises UserError with the problem and the remedy.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from models_train.data.records import Prompt, Role, Turn
from models_train.data.rows import LeftOut, WrongForm, filled_text, text
from models_train.errors import UserError
from models_train.study.settings import shown

ROLES: Mapping[str, Role] = {
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "system": "system",
    "developer": "system",
}
"""Roles by their names in messages."""

THOUGHTS = ("reasoning_content", "reasoning", "thinking")
"""Keys of the thoughts in a message, which belong before its content."""

_HELPSTEER2_MARK = re.compile(r"\r?\n<extra_id_1>(Assistant|User)\r?\n")
_HH_MARK = re.compile(r"(?:\A\s*|\n\n)(Human|Assistant):")
_HH_START = re.compile(r"\s*Human:.*\n\nAssistant:", re.DOTALL)


def marked_prompt(value: Any) -> Prompt:
    """HelpSteer2's prompt: turns joined by `\\n<extra_id_1>Assistant\\n` and `\\n<extra_id_1>User\\n`; or messages.

    The first turn is the user's, turns alternate, the last is the user's. Turns of earlier rounds may be empty.
    """
    if isinstance(value, list):
        return alternating(messages(value))
    first, *rest = _HELPSTEER2_MARK.split(filled_text(value))
    turns = [Turn("user", first)]
    for who, said in zip(rest[::2], rest[1::2], strict=True):
        turns.append(Turn("assistant" if who == "Assistant" else "user", said))
    return alternating(tuple(turns))


def plain_or_turns(value: Any) -> Prompt:
    """RewardBench's prompt: plain text is one turn of the user; or a list of messages."""
    if isinstance(value, str):
        return (Turn("user", filled_text(value)),)
    return alternating(messages(value))


def text_or_messages(value: Any) -> str | Prompt:
    """A response as text or as messages, alone or after those of its prompt."""
    return messages(value) if isinstance(value, list) else text(value)


def filled_text_or_messages(value: Any) -> str | Prompt:
    """As `text_or_messages`, but text is not empty."""
    return messages(value) if isinstance(value, list) else filled_text(value)


def messages(value: Any) -> Prompt:
    """A list of {role, content}, or of {from, value}; a content may be a list of parts that are text.

    Thoughts with a key of their own (THOUGHTS) are put before the content, as `<think>...</think>`.
    """
    if not isinstance(value, list) or not value:
        raise UserError(f"{shown(value)} is neither text nor a list of turns; correct it, or remove the row")
    if all(isinstance(one, str) for one in value):
        raise WrongForm(
            "is a list of texts; several completions per prompt, as RewardBench 2 has them, cannot be compared yet: "
            "give one chosen and one rejected completion per row"
        )
    return tuple(_turn(number, turn) for number, turn in enumerate(value, 1))


def _turn(number: int, value: Any) -> Turn:
    found = value if isinstance(value, Mapping) else {}
    role = ROLES.get(str(found.get("role", found.get("from"))))
    if role is None:
        raise UserError(f"turn {number} has no role of user, assistant or system; give it one, or remove the row")
    content = found.get("content", found.get("value"))
    if isinstance(content, list):
        parts = [part.get("text") if isinstance(part, Mapping) else None for part in content]
        if not all(isinstance(part, str) for part in parts):
            raise UserError(
                f"turn {number} has parts that are not text; a reward model reads text only: remove the row"
            )
        content = "".join(map(str, parts))
    thoughts = next((found[key] for key in THOUGHTS if found.get(key)), None)
    if role == "assistant" and thoughts is not None:
        return Turn(role, f"<think>\n{text(thoughts)}\n</think>\n\n{text(content)}")
    return Turn(role, text(content))


def alternating(turns: Prompt) -> Prompt:
    """The turns of a prompt, where they alternate, begin and end with the user, and are not all empty."""
    spoken = [turn.role for turn in turns if turn.role != "system"]
    if spoken != (["user", "assistant"] * len(spoken))[: len(spoken)] or not spoken or turns[-1].role != "user":
        roles = ", ".join(turn.role for turn in turns)
        raise UserError(
            f"its turns are {shown(roles)}; they must alternate, begin with the user and end with the user: correct "
            "the turns, or remove the row"
        )
    if not any(turn.text.strip() for turn in turns):
        raise UserError("is empty; fill it in, or remove the row")
    return turns


def is_hh(value: object) -> bool:
    """True for a text whose turns HH-RLHF's marks part: `\\n\\nHuman: ...\\n\\nAssistant: ...`."""
    return isinstance(value, str) and _HH_START.match(value) is not None


def hh_turns(value: str) -> Prompt:
    """The turns of a text in which HH-RLHF's marks part them, without blanks around them."""
    _, *rest = _HH_MARK.split(value)
    return tuple(
        Turn("user" if who == "Human" else "assistant", said.strip())
        for who, said in zip(rest[::2], rest[1::2], strict=True)
    )


def hh_response(value: str | Prompt) -> str | Prompt:
    """A response of HH-RLHF's: the turns of a whole conversation, or the text that follows `\\n\\nAssistant:`."""
    if not isinstance(value, str):
        return value
    return hh_turns(value) if is_hh(value) else value.strip()


def with_response(prompt: Prompt | None, response: str | Prompt) -> Prompt:
    """A conversation that ends with the response. A response as messages may repeat its prompt, all or some of it."""
    if isinstance(response, str):
        if prompt is None:
            raise WrongForm(
                "the response is text, and the row has no prompt; add a column prompt, or begin the turns with "
                "'\\n\\nHuman:' and '\\n\\nAssistant:'"
            )
        return (*prompt, Turn("assistant", response))
    if prompt is None:
        return response
    context = response[:-1]
    if not context or response[0].role == "assistant":
        return (*prompt, *response)
    if _same(prompt, context[: len(prompt)]) or _same(prompt, context[-len(prompt) :]):
        return response
    if _same(context, prompt[-len(context) :]):
        return (*prompt, response[-1])
    raise UserError("its messages begin with other turns than the prompt; correct one of them, or remove the row")


def compared(one: Prompt, other: Prompt) -> tuple[Prompt, str, str]:
    """The prompt that two conversations share, and the response of each: their last turns.

    Raises LeftOut where they differ before, the prompt is empty, or the turns do not alternate.
    """
    if not one or not other or one[-1].role != "assistant" or other[-1].role != "assistant":
        raise LeftOut("a conversation does not end with a turn of the assistant")
    if one[:-1] != other[:-1]:
        raise LeftOut("the two conversations differ before their last turn")
    if not any(turn.text.strip() for turn in one[:-1]):
        raise LeftOut("the prompt is empty")
    try:
        prompt = alternating(one[:-1])
    except UserError as error:
        raise LeftOut("the turns before the response do not alternate between user and assistant") from error
    return prompt, one[-1].text, other[-1].text


def _same(some: Prompt, others: Prompt) -> bool:
    """True where turns are equal but for blanks around their texts."""
    plain, of_others = ([(turn.role, turn.text.strip()) for turn in turns] for turns in (some, others))
    return plain == of_others
