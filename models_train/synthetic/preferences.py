"""Preferences, ratings and a test set of the lab, in the columns of the real data sets. Synthetic; the truth is known.

True utility of a response: `weights` times (helpfulness, correctness, coherence, complexity, verbosity), each 0 to 4.
Which of two responses is preferred follows it, with logistic noise; ratings are the attributes, with rounding noise.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from models_train.synthetic.responses import (
    FACTS,
    HARMLESS,
    MOST,
    Maker,
    Question,
    Response,
    code,
    harmful,
    padded,
    proof,
)

TRUE_WEIGHTS = (0.65, 0.8, 0.45, 0.1, -0.4)
"""Weights of the attributes that the preferences are made with, multiples of 0.05 as in the merge search."""
_SHARE_HARMFUL = 0.15
_TIMES = {"good": 3, "wrong": 3, "refused": 2}
"""How many times a response is among those that a pair is drawn from, where it is not once: what takes a model the most
examples to learn."""
_SHARE_PADDED = 0.25
_STRONG = 4.0
"""Difference of utilities from which a preference counts as 3."""

_FALSE = ("wrong", "broken")

# Subsets of the test set, under the names of RewardBench's: the questions asked, and the flaws that the rejected
# response may have. What is false is hard or easy to see, in equal shares: a small model must have something to find.
SUBSETS: dict[str, tuple[str, tuple[str, ...]]] = {
    "alpacaeval-easy": ("harmless", ("broken", "off_topic")),
    "alpacaeval-length": ("harmless", ("padded_off_topic",)),
    "llmbar-natural": ("harmless", _FALSE),
    "llmbar-adver-neighbor": ("facts", _FALSE),
    "llmbar-adver-manual": ("facts", ("padded_wrong", "padded_broken")),
    "refusals-dangerous": ("harmful", ("complied",)),
    "xstest-should-refuse": ("harmful", ("complied",)),
    "xstest-should-respond": ("harmless", ("refused",)),
    "math-prm": ("proof", _FALSE),
    "hep-python": ("code", _FALSE),
}


_KINDS: dict[str, tuple[Maker, ...]] = {
    "harmless": HARMLESS,
    "facts": FACTS,
    "proof": (proof,),
    "code": (code,),
    "harmful": (harmful,),
}


def utility(response: Response, weights: Sequence[float] = TRUE_WEIGHTS) -> float:
    """The true utility of a response."""
    return sum(weight * value for weight, value in zip(weights, response.attributes, strict=True))


def preference_rows(n: int, seed: int, noise: float, split: str) -> Iterator[dict[str, Any]]:
    """Rows in HelpSteer2-Preference's columns. noise: scale of the logistic noise of utilities; 0 for none."""
    for number in range(n):
        dice = random.Random(f"preferences/{split}/{seed}/{number}")
        question = question_of(dice, split)
        one, other = _two(question, dice)
        gap = utility(other) - utility(one) + noise * _logistic(dice)
        strength = max(1, min(3, math.ceil(abs(gap) / _STRONG * 3)))
        yield {
            "split": split,
            "prompt": question.prompt,
            "response_1": one.text,
            "response_2": other.text,
            "preference_strength": strength if gap > 0 else -strength,
        }


def rating_rows(n: int, seed: int, noise: float, split: str) -> Iterator[dict[str, Any]]:
    """Rows in HelpSteer2's columns, with `split`. noise: chance that a rating is off by one."""
    names = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
    for number in range(n):
        dice = random.Random(f"ratings/{split}/{seed}/{number}")
        question = question_of(dice, split)
        response = dice.choice(_two(question, dice))
        ratings = {
            name: max(0, min(MOST, value + (dice.choice((-1, 1)) if dice.random() < noise else 0)))
            for name, value in zip(names, response.attributes, strict=True)
        }
        yield {"split": split, "prompt": question.prompt, "response": response.text, **ratings}


def test_rows(n_per_subset: int, seed: int) -> Iterator[dict[str, Any]]:
    """Rows in RewardBench's columns: four categories in ten subsets; the chosen response is better without a doubt."""
    for subset, (kind, flaws) in SUBSETS.items():
        for number in range(n_per_subset):
            dice = random.Random(f"test/{subset}/{seed}/{number}")
            flaw = flaws[number % len(flaws)]
            question = dice.choice(_KINDS[kind])(dice, True)
            rejected = question.flawed[flaw.removeprefix("padded_")]
            if flaw.startswith("padded_"):
                rejected = padded(rejected, dice, dice.randint(1, 3))
            yield {
                "prompt": question.prompt,
                "chosen": question.good.text,
                "chosen_model": "lab",
                "rejected": rejected.text,
                "rejected_model": "lab",
                "subset": subset,
                "id": number,
            }


def write_rows(path: Path, rows: Iterator[dict[str, Any]]) -> int:
    """Rows as JSONL; returns how many."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    return count


def question_of(dice: random.Random, split: str) -> Question:
    """A question of a split: most names that the others list, training does not."""
    return (harmful if dice.random() < _SHARE_HARMFUL else dice.choice(HARMLESS))(dice, split != "train")


def _two(question: Question, dice: random.Random) -> tuple[Response, Response]:
    """Two different responses: the good one or a flawed one, each padded now and then."""
    responses = {"good": question.good, **question.flawed}
    choices = [response for name, response in responses.items() for _ in range(_TIMES.get(name, 1))]
    one, other = dice.sample(choices, 2)
    one, other = (padded(r, dice, dice.randint(1, MOST)) if dice.random() < _SHARE_PADDED else r for r in (one, other))
    return (one, other) if one.text != other.text else (one, padded(other, dice, 2))


def _logistic(dice: random.Random) -> float:
    share = dice.uniform(1e-9, 1 - 1e-9)
    return math.log(share / (1 - share))
