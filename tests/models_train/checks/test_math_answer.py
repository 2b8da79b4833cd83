"""Answers of problems of mathematics, by math-verify in a worker process that ends in time."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from models_train.checks.math_answer import MathAnswers, answer_of
from models_train.checks.verdict import NOT_APPLICABLE, OK, TIMEOUT

TOWER = "$9^{9^{9^9}}$"


@pytest.fixture(scope="module")
def answers() -> Iterator[MathAnswers]:
    with MathAnswers(seconds=2.0) as found:
        yield found


@pytest.mark.parametrize(
    ("gold", "text", "value"),
    [
        ("42", "So the answer is $\\boxed{42}$.", 1.0),
        (42, "First 41, then 1 more. #### 42", 1.0),
        ("1/2", "It is 0.5", 1.0),
        (0.5, "$\\frac12$", 1.0),
        ("\\frac{1}{2}", "\\boxed{\\frac{2}{3}}", 0.0),
        ("x^2+1", "$1+x^2$", 1.0),
        ("x^2+1", "$1+x^3$", 0.0),
        ("1,234", "1234 apples", 1.0),
        ("\\{1,2\\}", "The set is $\\{2, 1\\}$.", 1.0),
        ("7", "I think 8", 0.0),
        ("7", "no number", 0.0),
        ("7", "(" * 3000 + "7" + ")" * 3000, 0.0),
        ("7", "\ud800 $7$ \0", 1.0),
    ],
)
def test_an_answer_is_right_or_wrong(answers: MathAnswers, gold: Any, text: str, value: float) -> None:
    found = answers.check(text, json.dumps(gold))
    assert (found.status, found.value) == (OK, value), found.detail


@pytest.mark.parametrize(
    "gold", ["null", "true", '"Monday"', '"in the morning"', '""', "[1]", '{"right": 1}', "no JSON"]
)
def test_a_prompt_without_a_formula_is_not_checked(answers: MathAnswers, gold: str) -> None:
    assert answers.check("7", gold).status == NOT_APPLICABLE and answer_of(None) is None
    assert answers.check("7", '"\\\\frac{1}{"').value is None


def test_an_object_states_its_answer() -> None:
    assert answer_of('{"answer": "7", "level": 5}') == "$7$" and answer_of('"$7$"') == "$7$"


def test_a_formula_that_takes_too_long_ends_and_the_next_one_is_checked(answers: MathAnswers) -> None:
    began = time.monotonic()
    found = answers.check(TOWER, '"7"')
    assert found.status == TIMEOUT and found.value is None and time.monotonic() - began < 4
    assert answers.check("$7$", '"7"').value == 1.0


def test_no_worker_outlives_its_use() -> None:
    before = {child.pid for child in psutil.Process(os.getpid()).children(recursive=True)}
    with MathAnswers() as answers:
        assert answers.check("$7$", '"7"').value == 1.0
        (worker,) = [
            child
            for child in psutil.Process().children()
            if child.pid not in before and "spawn_main" in str(child.cmdline())
        ]
        worker.kill()
        assert answers.check("$7$", '"7"').status == "error: the comparison ended its process"
        assert answers.check("$7$", '"7"').value == 1.0
    left = [child for child in psutil.Process().children() if child.pid not in before]
    assert [child for child in left if "spawn_main" in str(child.cmdline())] == []
