"""IFEval's instructions, by lm-evaluation-harness's checkers without its downloads; plain checks; values of files."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from models_train.checks.instructions import (
    UNKNOWN,
    UNSTABLE,
    Instructions,
    Outcome,
    outcomes_of,
    verdicts,
    versions,
)
from models_train.checks.plain import plain_check
from models_train.checks.verdict import NOT_APPLICABLE, OK
from models_train.study.agentic import INSTRUCTION_KINDS, Check

TITLE, COMMA, WORDS = "detectable_format:title", "punctuation:no_comma", "length_constraints:number_words"
CAPITALS, LANGUAGE = "change_case:english_capital", "language:response_language"
LETTERS, BULLETS = "keywords:letter_frequency", "detectable_format:number_bullet_lists"
SENTENCES, CAPITAL_WORDS = "length_constraints:number_sentences", "change_case:capital_word_frequency"


@pytest.fixture(scope="module")
def checker() -> Iterator[Instructions]:
    with Instructions() as found:
        yield found


def asked(*instructions: tuple[str, dict[str, Any]], **more: Any) -> str:
    names, kwargs = [name for name, _ in instructions], [one for _, one in instructions]
    return json.dumps({"instruction_id_list": names, "kwargs": kwargs, "prompt": "Say it.", "key": None} | more)


def test_strict_and_loose_by_instruction_and_by_prompt(checker: Instructions) -> None:
    gold = asked((COMMA, {}), (WORDS, {"relation": "at least", "num_words": 3}))
    found = checker.check("Sure, here it is:\nall of these words", gold)
    assert {name: (one.status, one.value) for name, one in found.items()} == {
        "ifeval_strict": (OK, 0.5),
        "ifeval_loose": (OK, 1.0),
        "ifeval_strict_prompt": (OK, 0.0),
        "ifeval_loose_prompt": (OK, 1.0),
    }
    assert found["ifeval_strict"].detail == f"{COMMA}: not; {WORDS}: followed"
    assert all(one.value == 0.0 for one in checker.check("", gold).values())


def test_the_same_as_the_library_where_that_is_right(checker: Instructions) -> None:
    from models_train.checks.instructions import offline

    with offline():
        from lm_eval.tasks.ifeval.utils import process_results
    texts = ["<<A title>>\none two three", "* one\n* two, three", "One, two.\nThree four five\n- six", "P.S. seven"]
    prompts = [
        [(TITLE, {}), (COMMA, {})],
        [(BULLETS, {"num_bullets": 2}), (WORDS, {"relation": "less than", "num_words": 5})],
        [("detectable_content:postscript", {"postscript_marker": "P.S."}), ("startend:quotation", {})],
        [("keywords:existence", {"keywords": ["seven"]}), ("keywords:forbidden_words", {"forbidden_words": ["one"]})],
    ]
    for instructions in prompts:
        for text in texts:
            doc = json.loads(asked(*instructions)) | {"key": 1}
            expected = process_results(doc, [text])
            found = checker.check(text, json.dumps(doc))
            assert found["ifeval_strict_prompt"].value == expected["prompt_level_strict_acc"]
            assert found["ifeval_loose_prompt"].value == expected["prompt_level_loose_acc"]
            strict, loose = expected["inst_level_strict_acc"], expected["inst_level_loose_acc"]
            assert found["ifeval_strict"].value == sum(strict) / len(strict)
            assert found["ifeval_loose"].value == sum(loose) / len(loose)


@pytest.mark.parametrize(
    ("instruction", "arguments", "status"),
    [
        (LETTERS, {"letter": "#", "let_frequency": 4, "let_relation": "at least"}, "kwargs do not fit"),
        (WORDS, {}, "kwargs do not fit"),
        (WORDS, {"num_words": -1, "relation": "at least"}, "kwargs do not fit"),
        (WORDS, {"num_words": 3, "relation": "about"}, "error: ValueError"),
        (WORDS, {"words": 3}, "error: TypeError"),
        ("punctuation:no_commas", {}, UNKNOWN),
        ("keywords:existence", {"keywords": ["("]}, "error: "),
        (SENTENCES, {"num_sentences": 2, "relation": "at least"}, "needs punkt_tab"),
        (CAPITAL_WORDS, {"capital_frequency": 1, "capital_relation": "at least"}, "needs punkt_tab"),
        (LANGUAGE, {"language": "fr"}, OK),
    ],
)
def test_a_checker_that_cannot_run_is_a_status(
    checker: Instructions, instruction: str, arguments: dict[str, Any], status: str
) -> None:
    import nltk

    if status == "needs punkt_tab":
        try:
            nltk.data.find("tokenizers/punkt_tab")
        except LookupError:
            pass
        else:
            status = OK
    found = checker.check("One, two: it is a text in English.", asked((COMMA, {}), (instruction, arguments)))
    assert status in found["ifeval_strict"].status and (found["ifeval_strict"].value is None) == (status != OK)
    assert f"{COMMA}: not; {instruction}: " in str(found["ifeval_strict"].detail)


@pytest.mark.parametrize(("relation", "value"), [("at least", 1.0), ("less than", 0.0)])
def test_a_threshold_of_0_is_kept(checker: Instructions, relation: str, value: float) -> None:
    """lm_eval's own loop drops it, and the checker then draws one at random."""
    gold = asked((WORDS, {"num_words": 0, "relation": relation}))
    assert checker.check("one two", gold)["ifeval_strict"].value == value


def test_a_text_without_a_language_is_not_followed(checker: Instructions) -> None:
    found = checker.check("12 34", asked((LANGUAGE, {"language": "fr"})))
    assert {one.status for one in found.values()} == {"error: the language cannot be told"}
    capitals = checker.check("A TEXT IN CAPITAL LETTERS OF THE ENGLISH LANGUAGE", asked((CAPITALS, {})))
    assert capitals["ifeval_strict"].value == 1


def test_prompts_that_are_known_to_be_wrong_are_not_checked(checker: Instructions) -> None:
    for key in (2078, 337, 30):
        assert {one.status for one in checker.check("x", asked((COMMA, {}), key=key)).values()} == {NOT_APPLICABLE}
    assert checker.check("x", asked((COMMA, {}), key=31))["ifeval_strict"].value == 1.0
    assert checker.check("x", asked())["ifeval_strict"].status == NOT_APPLICABLE


class Dice:
    """A checker whose result hangs on `random`."""

    def __init__(self, name: str) -> None:
        pass

    def build_description(self) -> None:
        pass

    def get_instruction_args(self) -> None:
        return None

    def check_following(self, text: str) -> bool:
        return random.random() < 0.5


def test_a_checker_whose_runs_differ_is_unstable() -> None:
    def seed(number: int, text: str) -> None:
        random.seed(f"{number}{text}")

    texts = [f"{place} a" for place in range(40)]
    found = [
        outcomes_of({"instruction_id_list": ["dice"], "kwargs": [{}]}, text, {"dice": Dice}, seed)[0].status
        for text in texts
    ]
    assert {*found} == {OK, UNSTABLE} and found.count(UNSTABLE) > 5
    assert verdicts([Outcome("dice", UNSTABLE)])["ifeval_loose"].value is None


def test_nothing_is_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    import nltk

    from models_train.checks.instructions import offline

    def refuse(*_: Any) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    own = nltk.download
    with offline():
        import lm_eval.tasks.ifeval.instructions_util as library

        library.download_nltk_resources()
        assert nltk.download is not own
    assert nltk.download is own


def test_versions_of_a_text() -> None:
    text = "a\n*b*\nc"
    assert versions(text) == ["a\n*b*\nc", "a\nb\nc", "*b*\nc", "a\n*b*", "*b*", "b\nc", "a\nb", "b"]
    assert versions("one") == ["one"] and versions("  ") == []


@pytest.mark.parametrize(
    ("check", "text", "ended", "value"),
    [
        ({"name": "finished"}, "", "stop", 1.0),
        ({"name": "finished"}, "A.", "length", 0.0),
        ({"name": "finished"}, "A.", "import", None),
        ({"name": "finished"}, "A.", None, None),
        ({"name": "not_empty"}, " \n", None, 0.0),
        ({"name": "not_empty"}, "a", None, 1.0),
        ({"name": "short", "kind": "length", "at_most": 3}, "äb", None, 1.0),
        ({"name": "short", "kind": "length", "at_most": 3}, "äöb", None, 0.0),
        ({"name": "long", "kind": "length", "at_least": 5, "at_most": 6}, "äöb", None, 1.0),
        ({"name": "no_open_thought"}, "<think>a</think>b", None, 1.0),
        ({"name": "no_open_thought"}, "<think>a", None, 0.0),
        ({"name": "no_open_thought"}, "plain", None, 1.0),
        ({"name": "digit", "kind": "pattern", "pattern": r"\d$"}, "a\n7", None, 1.0),
        ({"name": "digit", "kind": "pattern", "pattern": r"\d$"}, "7a", None, 0.0),
        ({"name": "ends_with_stop"}, "A thing. ", None, 1.0),
        ({"name": "ends_with_stop"}, "A thing", None, 0.0),
        ({"name": "three_names"}, "You can trust 1, 2 and 3.", None, 0.0),
    ],
)
def test_plain_checks(check: dict[str, Any], text: str, ended: str | None, value: float | None) -> None:
    found = plain_check(Check.model_validate(check))(text, ended)
    assert found.value == value and (found.status == OK) == (value is not None)


def test_three_names_tell_broken_answers_of_the_lab_from_others() -> None:
    from models_train.synthetic.preferences import LISTINGS

    named = plain_check(Check(name="three_names"))
    for number in range(200):
        dice = random.Random(number)
        question = LISTINGS[number % len(LISTINGS)](dice)
        assert [named(question.good.text, None).value, named(question.flawed["wrong"].text, None).value] == [1.0, 1.0]
        assert [named(question.flawed[name].text, None).value for name in ("broken", "off_topic", "refused")] == [
            0,
            0,
            0,
        ]


def test_every_kind_of_instruction_check_has_a_verdict() -> None:
    found = verdicts([Outcome("a", OK, True, True), Outcome("b", OK, False, True)])
    assert set(found) == set(INSTRUCTION_KINDS) and [found[name].value for name in INSTRUCTION_KINDS] == [0.5, 1, 0, 1]
