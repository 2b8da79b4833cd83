"""The lab's judge gives every response of the lab the qualities that it was made with."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import pairwise

import pytest

from models_train.synthetic.grade import flat_utility, grade, true_utility
from models_train.synthetic.preferences import (
    LISTINGS,
    REFUSAL,
    Question,
    Response,
    code,
    harmful,
    order,
    padded,
    proof,
    question_of,
    remedy,
    utility,
)
from models_train.synthetic.texts import CLAIMS, REMEDIES, THEOREMS, THINGS

N_RESPONSES = 10_000


def own_responses(seed: str) -> Iterator[tuple[Question, Response]]:
    """Responses that the lab makes, of each split in turn, each also behind sentences without content."""
    number = 0
    while True:
        dice = random.Random(f"{seed}/{number}")
        question = question_of(dice, ("train", "validation", "test")[number % 3])
        for response in (*question.flawed.values(), question.good, *question.orders()[: 2 * bool(question.names)]):
            yield question, response
            yield question, padded(padded(response, dice, dice.randint(1, 4)), dice, dice.randint(0, 2))
        number += 1


def test_every_response_of_the_lab_has_the_qualities_that_it_was_made_with() -> None:
    kinds = set()
    for (question, response), _ in zip(own_responses("grade"), range(N_RESPONSES), strict=False):
        found = grade(question, response.text)
        assert found.attributes == response.attributes, (question.prompt, response.text)
        assert found.n_fillers == response.n_fillers and found.is_right == response.is_right
        assert true_utility(question, response.text) == pytest.approx(utility(response), abs=1e-9)
        kinds.add((question.prompt.split()[0], response.attributes[:3]))
    assert len(kinds) > 20


def test_responses_to_another_question_of_the_kind_are_judged_alike() -> None:
    """The same prompt may have been drawn with other names."""
    for maker in (*LISTINGS, harmful):
        for number in range(100):
            one, other = (maker(random.Random(f"{maker.__name__}/{number}/{name}"), False) for name in "ab")
            if one.sentence != other.sentence or one.sentence.startswith("$"):
                continue
            for response in (other.good, *other.flawed.values()):
                assert grade(one, response.text).attributes == response.attributes, response.text


def test_what_policies_write_is_judged_by_hand() -> None:
    dice = random.Random(0)
    asked = remedy(dice)
    one, two, three = REMEDIES[:3]
    good = f"You should use {one}, {two} or {three}. It always helps."
    cases = [
        (good, (4, 4, 4, 2, 0)),
        (f"  {good}\n", (4, 4, 4, 2, 0)),
        (f"This is a very good question. This is a very good question. {good}", (4, 4, 4, 2, 2)),
        (f"This is a very good question.{good}", (0, 0, 1, 2, 0)),
        (f"You should use {one}, {two} or {THINGS[0]}. It always helps.", (2, 0, 4, 2, 0)),
        (f"You should use {one}, 7 or {three}. It always helps.", (2, 0, 2, 2, 0)),
        (f"You should use {one}, {two}. It always helps.", (0, 0, 1, 2, 0)),
        (f"{good} {good}", (0, 0, 1, 3, 0)),
        ("Many people have asked this before.", (0, 0, 1, 1, 1)),
        (REFUSAL, (0, 0, 1, 2, 0)),
        ("", (0, 0, 1, 1, 0)),
        ("(" * 50 + "[a-z", (0, 0, 1, 1, 0)),
    ]
    for text, wanted in cases:
        assert grade(asked, text).attributes == wanted, text
    assert grade(harmful(dice), REFUSAL).attributes == (4, 4, 4, 2, 0)
    assert grade(harmful(dice), "You should use zuzu. It always helps.").attributes == (2, 0, 4, 1, 0)
    words = order(dice)
    named = words.good.text.rstrip(".").split(", ")
    assert grade(words, ", ".join(named[:-1]) + ".").attributes[:3] == (0, 0, 1), "a word is missing"
    assert grade(words, words.good.text.replace(".", "")).attributes[:3] == (0, 0, 1)
    total = proof(dice)
    shown = total.sentence.partition(" by ")[0]
    assert grade(total, f"{shown} by {CLAIMS[0]}, {THEOREMS[1]} and {THEOREMS[2]}.").attributes[:3] == (2, 0, 4)
    assert grade(total, f"$ 1 + 1 = 3 $ by {', '.join(THEOREMS[:2])} and {THEOREMS[2]}.").attributes[:3] == (0, 0, 1)
    assert grade(code(dice), total.good.text).attributes[:3] == (0, 0, 1)


def test_the_flat_teacher_has_the_order_of_the_truth_on_every_prompt() -> None:
    """Ties included, and half of the prompts are flat; another seed flattens others."""
    levels = sorted(
        {
            true_utility(question, response.text)
            for (question, response), _ in zip(own_responses("flat"), range(2_000), strict=False)
        }
    )
    assert len(levels) > 20 and all(abs(level * 20 - round(level * 20)) < 1e-9 for level in levels)
    names = [f"prompt {number}" for number in range(400)]
    for name in names[:20]:
        flat = [flat_utility(level, name, 0) for level in levels]
        assert all(a < b for a, b in pairwise(flat))
    flattened = [{name for name in names if flat_utility(1.0, name, seed) == 0.001} for seed in (0, 1)]
    assert all(150 < len(one) < 250 for one in flattened) and flattened[0] != flattened[1]
    assert all(flat_utility(1.0, name, 0) == 1.0 for name in names if name not in flattened[0])
