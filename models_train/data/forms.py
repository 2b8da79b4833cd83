"""Forms of preferences, ratings and test pairs: the columns that published data sets have, as one kind of values.

Values of a preference: prompt, chosen, rejected, strength (0 is a tie, 1 to 3), split. Pairs whose data set states no
strength have 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from models_train.data.conversations import (
    compared,
    filled_text_or_messages,
    hh_response,
    hh_turns,
    is_hh,
    marked_prompt,
    messages,
    plain_or_turns,
    text_or_messages,
    with_response,
)
from models_train.data.records import ATTRIBUTES, Prompt, Split, Turn
from models_train.data.rows import Column, Form, LeftOut, Values, filled_text, text, whole_number
from models_train.errors import UserError
from models_train.study.settings import shown

SPLITS: Mapping[str, Split] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "test", "eval", "evaluation"), "validation"),
}
"""Split by value of the column `split`, in small letters."""

SCORES = tuple(
    (f"{before}chosen{after}", f"{before}rejected{after}")
    for before, after in (("score_", ""), ("", "_score"), ("", "-rating"), ("", "_rating"))
)
"""Columns of the scores of a pair; equal scores are a tie."""


def split_value(value: Any) -> Split | None:
    """The split that a row states, in any case; empty text is none."""
    word = text(value).strip().lower()
    if word and word not in SPLITS:
        raise UserError(f"{shown(value)} is no split; the splits are {', '.join(SPLITS)}: correct or rename the column")
    return SPLITS.get(word)


def number(value: Any) -> float | None:
    """A finite number, or None."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if is_number else None


def rated_completions(value: Any) -> list[tuple[float, str]]:
    """UltraFeedback's completions: score and response of each."""
    rated = []
    for place, one in enumerate(value if isinstance(value, list) else [None], 1):
        found = one if isinstance(one, Mapping) else {}
        score = number(found.get("fine-grained_score"))
        if score is None:
            raise UserError(
                f"completion {place} has no fine-grained_score; a completion is {{response, fine-grained_score, ...}}: "
                "correct it, or remove the row"
            )
        rated.append((score, text(found.get("response"))))
    return rated


def item_id(value: Any) -> str:
    """Numbers of the hub's rows and names of other files alike, as text; pandas writes whole numbers as 3.0."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | str) or not str(value).strip():
        raise UserError(f"{shown(value)} is neither a whole number nor a name; give the item its id")
    return text(str(value))


def _of_two(values: Values, prompt: Prompt, first: Any, second: Any, strength: int) -> Values:
    """Values of two responses; negative strength: the first is better. Equal responses are a tie."""
    prompt, one, other = compared(with_response(prompt, first), with_response(prompt, second))
    chosen, rejected = (one, other) if strength < 0 else (other, one)
    strength = 0 if one.strip() == other.strip() else abs(strength)
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected, "strength": strength, "split": values["split"]}


def _helpsteer2(values: Values) -> Values:
    responses = values["response_1"], values["response_2"]
    return _of_two(values, values["prompt"], *responses, values["preference_strength"])


def _helpsteer3(values: Values) -> Values:
    return _of_two(values, values["context"], values["response1"], values["response2"], values["overall_preference"])


def _chosen_and_rejected(values: Values) -> Values:
    prompt, chosen, rejected = values["prompt"], values["chosen"], values["rejected"]
    if is_hh(prompt):
        turns = hh_turns(prompt)
        prompt = turns[:-1] if turns[-1] == Turn("assistant", "") else turns
    if is_hh(values["prompt"]) or prompt is None:
        chosen, rejected = (hh_response(one) for one in (chosen, rejected))
    if isinstance(prompt, str):
        prompt = (Turn("user", prompt),)
    for better, worse in SCORES:
        if values[better] is not None and values[worse] is not None and values[better] < values[worse]:
            raise UserError(f"{better} is below {worse}; swap chosen and rejected, or remove the row")
    is_tie = any(values[better] is not None and values[better] == values[worse] for better, worse in SCORES)
    found = _of_two(values, prompt, chosen, rejected, -1)
    return found | {"strength": 0} if is_tie else found


def _best_and_worst(values: Values) -> Values:
    rated = values["completions"]
    if len(rated) < 2:
        raise LeftOut("fewer than two completions")
    (best, chosen), (worst, rejected) = (choose(rated, key=lambda one: one[0]) for choose in (max, min))
    prompt = (Turn("user", values["instruction"]),)
    return _of_two(values, prompt, chosen, rejected, -1 if best > worst else 0)


def _rating(values: Values) -> Values:
    conversation = with_response(values["prompt"], values["response"])
    prompt, response, _ = compared(conversation, conversation)
    return values | {"prompt": prompt, "response": response}


def _test_pair(values: Values) -> Values:
    try:
        pair = (with_response(values["prompt"], values[name]) for name in ("chosen", "rejected"))
        prompt, chosen, rejected = compared(*pair)
    except LeftOut as reason:
        raise UserError(f"{reason}; correct the row, or remove it") from reason
    return values | {"prompt": prompt, "chosen": chosen, "rejected": rejected}


_SPLIT = {"split": Column(split_value, is_optional=True)}

PREFERENCES = (
    Form(
        {
            "prompt": Column(marked_prompt),
            "response_1": Column(filled_text_or_messages),
            "response_2": Column(filled_text_or_messages),
            "preference_strength": Column(whole_number(-3, 3)),
            **_SPLIT,
        },
        _helpsteer2,
    ),
    Form(
        {
            "context": Column(messages),
            "response1": Column(text_or_messages),
            "response2": Column(text_or_messages),
            "overall_preference": Column(whole_number(-3, 3)),
            **_SPLIT,
        },
        _helpsteer3,
    ),
    Form(
        {
            "prompt": Column(text_or_messages, is_optional=True),
            "chosen": Column(text_or_messages),
            "rejected": Column(text_or_messages),
            **{name: Column(number, is_optional=True) for pair in SCORES for name in pair},
            **_SPLIT,
        },
        _chosen_and_rejected,
    ),
    Form({"instruction": Column(filled_text), "completions": Column(rated_completions), **_SPLIT}, _best_and_worst),
)
"""Forms of HelpSteer2, of HelpSteer3, of pairs (TRL, UltraFeedback binarized, Skywork, HH-RLHF) and of UltraFeedback,
whose best and worst completions make a pair."""

RATINGS = (
    Form(
        {
            "prompt": Column(marked_prompt),
            "response": Column(filled_text_or_messages),
            **{name: Column(whole_number(0, 4)) for name in ATTRIBUTES},
            **_SPLIT,
        },
        _rating,
    ),
)
"""HelpSteer2's form."""

TEST_PAIRS = (
    Form(
        {
            "prompt": Column(plain_or_turns),
            "chosen": Column(text_or_messages),
            "rejected": Column(text_or_messages),
            "subset": Column(filled_text),
            "id": Column(item_id),
        },
        _test_pair,
    ),
)
"""RewardBench's form."""
