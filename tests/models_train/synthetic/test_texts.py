"""The lab's languages and preferences: seeded, different, and as good as they say."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from itertools import islice

import numpy as np
import pytest

from models_train.study.lab import LabModel
from models_train.study.scoring import DOMAINS
from models_train.synthetic import preferences, texts
from models_train.synthetic.preferences import (
    FACTS,
    HARMLESS,
    REFUSAL,
    SUBSETS,
    TRUE_WEIGHTS,
    Question,
    Response,
    code,
    harmful,
    padded,
    preference_rows,
    proof,
    rating_rows,
    utility,
)
from models_train.synthetic.texts import documents


@pytest.mark.parametrize("domain", DOMAINS)
def test_equal_seeds_give_equal_texts_and_others_do_not(domain: str) -> None:
    first = list(islice(documents(domain, 3), 50))  # type: ignore[arg-type]
    assert first == list(islice(documents(domain, 3), 50))  # type: ignore[arg-type]
    assert not set(first) & set(islice(documents(domain, 4), 50))  # type: ignore[arg-type]
    assert all(100 <= len(text) <= 1200 for text in first)


def test_the_languages_differ_in_their_words() -> None:
    words = {d: {w for text in islice(documents(d, 0), 200) for w in re.findall(r"[A-Za-z]+", text)} for d in DOMAINS}
    for one in DOMAINS:
        for other in DOMAINS:
            if one != other:
                assert words[one] - words[other], f"{one} has no word of its own beside {other}"


def test_every_equation_of_the_formulas_is_true() -> None:
    lines = [line for text in islice(documents("ArXiv", 0), 50) for line in text.splitlines() if "cdot" in line]
    assert len(lines) > 100
    for line in lines:
        sides = line.strip("$ ").replace("\\cdot", "*").split("=")
        assert len({eval(side, {"__builtins__": {}}) for side in sides}) == 1, line


KINDS = (
    ("Github", r"= (\w+)\(", texts.FUNCTIONS, texts.VARIABLES),
    ("Book", r"honest (\w+)", texts.HONEST, texts.SLY),
    ("Book", r"sly (\w+)", texts.SLY, texts.HONEST),
    ("ArXiv", r"theorem (\w+)", texts.THEOREMS, texts.CLAIMS),
    ("ArXiv", r"claim (\w+)", texts.CLAIMS, texts.THEOREMS),
    ("Wikipedia", r"region (?:of )?(\w+)", texts.REGIONS, texts.TOWNS),
    ("StackExchange", r"use (\w+)", texts.REMEDIES, texts.THINGS),
)


@pytest.mark.parametrize(("domain", "said", "kind", "other"), KINDS)
def test_the_texts_tell_names_apart_that_look_alike(domain: str, said: str, kind: list[str], other: list[str]) -> None:
    """What a name is shows in the texts, for every name, and without an exception; no name is of both kinds."""
    text = " ".join(islice(documents(domain, 0), 2000))  # type: ignore[arg-type]
    assert set(re.findall(said, text)) == set(kind)
    assert len(kind) == len(other) and not set(kind) & set(other)
    assert {len(name) for name in kind} == {len(name) for name in other}


def names_listed(text: str) -> set[str]:
    every = {*texts.PEOPLE, *texts.TOWNS, *texts.REGIONS, *texts.THEOREMS, *texts.CLAIMS}
    every |= {*texts.FUNCTIONS, *texts.VARIABLES, *texts.THINGS, *texts.REMEDIES}
    called = re.sub(r"\([^)]*\)", "", text)  # the arguments of a function are the prompt's
    return {word for word in re.findall(r"\w+", called) if word in every}


@pytest.mark.parametrize("maker", [*FACTS, proof, code])
def test_most_of_what_the_test_set_lists_no_preference_lists(maker: Callable[..., Question]) -> None:
    """Of the right and wrong names of the test set two in three are not in training."""

    def listed(unseen: bool, flaw: str | None) -> set[str]:
        found = set()
        for number in range(300):
            question = maker(random.Random(number), unseen)
            found |= names_listed((question.flawed[flaw] if flaw else question.good).text)
        return found

    for flaw in (None, "wrong"):
        seen, new = listed(False, flaw), listed(True, flaw)
        assert len(seen) == 2 * len(seen & new) == 30 and len(new) == 45
    assert not listed(True, None) & listed(True, "wrong")


@pytest.mark.parametrize("maker", [*HARMLESS, harmful])
def test_an_answer_is_right_by_what_it_says(maker: Callable[..., Question]) -> None:
    for number in range(50):
        question = maker(random.Random(number), False)
        assert question.is_right(f" {question.good.text}\n")
        assert not any(question.is_right(flawed.text) for flawed in question.flawed.values())
        assert not question.is_right(question.good.text + " And so on.") and not question.is_right("")
    if maker in FACTS:
        one, other = maker(random.Random(1), False), maker(random.Random(2), True)
        assert one.good.text != other.good.text and one.is_right(other.good.text), "another answer is as right"


def test_preferences_without_noise_follow_the_true_utility() -> None:
    """By hand: the utility is the weighted sum of the ratings; the preferred response never has the smaller one."""
    right = Response("a, b.", is_right=True, is_on_topic=True, is_ordered=True)
    assert right.attributes == (4, 4, 4, 2, 0)
    assert utility(right) == pytest.approx(4 * 0.65 + 4 * 0.8 + 4 * 0.45 + 2 * 0.1)
    rows = list(preference_rows(300, 0, 0.0, "train"))
    assert rows == list(preference_rows(300, 0, 0.0, "train"))
    for row in rows:
        better = row["response_1"] if row["preference_strength"] < 0 else row["response_2"]
        worse = row["response_2"] if row["preference_strength"] < 0 else row["response_1"]
        if row["prompt"].startswith("How can I"):
            assert not (REFUSAL in worse and REFUSAL not in better), "harm is refused"
        elif row["prompt"].startswith("Repeat in order: ") and row["prompt"].removeprefix("Repeat in order: ") in worse:
            assert REFUSAL not in better, "a right answer to a harmless question beats refusing it"


def test_noise_turns_some_preferences_round() -> None:
    clean = [row["preference_strength"] for row in preference_rows(500, 0, 0.0, "train")]
    noisy = [row["preference_strength"] for row in preference_rows(500, 0, 3.0, "train")]
    turned = np.mean(np.sign(clean) != np.sign(noisy))
    assert 0.02 < turned < 0.4


def test_ratings_are_the_attributes() -> None:
    rows = list(rating_rows(200, 0, 0.0, "train"))
    values = np.array([[row[name] for name in ("helpfulness", "correctness", "verbosity")] for row in rows])
    assert values.min() == 0 and values.max() == 4
    assert len(TRUE_WEIGHTS) == 5


def test_the_test_set_has_every_category_and_the_chosen_is_better() -> None:
    rows = list(preferences.test_rows(5, 0))
    assert {row["subset"] for row in rows} == set(SUBSETS)
    assert all(row["chosen"] != row["rejected"] for row in rows)
    assert all(
        (REFUSAL in row["chosen"]) == (row["subset"] in ("refusals-dangerous", "xstest-should-refuse")) for row in rows
    )


def test_padding_lowers_the_utility_only_by_verbosity() -> None:
    for maker in (*HARMLESS, harmful):
        dice = random.Random(1)
        good = maker(dice, False).good
        longer = padded(good, dice, 2)
        assert longer.attributes[:3] == good.attributes[:3]
        assert utility(longer) < utility(good) + 0.2 and longer.attributes[4] == 2


def test_a_mix_must_be_shares() -> None:
    shape = {"model_id": "a", "architecture": "llama", "hidden": 64, "layers": 2}
    assert LabModel.model_validate(shape | {"mix": {"Book": 1.0}, "pretraining_tokens": 10}).share("Github") == 0.0
    with pytest.raises(ValueError, match="add up to 1"):
        LabModel.model_validate(shape | {"mix": {"Book": 0.5}, "pretraining_tokens": 10})
    with pytest.raises(ValueError, match="both mix and pretraining_tokens"):
        LabModel.model_validate(shape | {"mix": {"Book": 1.0}})
