"""Forms of preferences and test pairs that published data sets have, each by a row made for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from models_train.data.helpsteer import load_preferences, load_ratings
from models_train.data.records import Loaded, Preference, Prompt, Turn
from models_train.data.rewardbench import load_test_pairs
from models_train.errors import UserError
from models_train.study.training import DataSource
from tests.support.data_files import Row, benchmark_item, preference, rating, write

PLACES = range(8)
MakeRow = Callable[[int], dict[str, Any]]


def user(text: Any) -> dict[str, Any]:
    return {"role": "user", "content": text}


def part(text: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": text}]


def assistant(text: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def system(text: str) -> dict[str, Any]:
    return {"role": "system", "content": text}


def loaded(tmp_path: Path, rows: Sequence[Row], name: str = "pairs.jsonl") -> Loaded[Preference]:
    return load_preferences(DataSource(path=str(write(tmp_path / name, rows))), tmp_path)


def asked(place: int) -> Prompt:
    return (Turn("user", f"q{place}"),)


def dialogue(place: int) -> Prompt:
    return (*asked(place), Turn("assistant", "well"), Turn("user", "and?"))


FORMS: dict[str, tuple[MakeRow, Callable[[int], Prompt]]] = {
    "helpsteer2, messages": (
        lambda n: preference([user(f"q{n}")], 2, None, response_1=[assistant("bad")], response_2=[assistant("good")]),  # type: ignore[arg-type]
        asked,
    ),
    "helpsteer3": (
        lambda n: {
            "domain": "general",
            "context": [user(f"q{n}"), assistant("well"), user("and?")],
            "response1": "good",
            "response2": "bad",
            "overall_preference": -2,
        },
        dialogue,
    ),
    "ultrafeedback, binarized": (
        lambda n: {
            "prompt": f"q{n}",
            "chosen": [user(f"q{n}"), assistant("good")],
            "rejected": [user(f"q{n}"), assistant("bad")],
            "score_chosen": 8.0,
            "score_rejected": 5.0,
        },
        asked,
    ),
    "ultrafeedback": (
        lambda n: {
            "instruction": f"q{n}",
            "completions": [
                {"response": "bad", "fine-grained_score": 1.5},
                {"response": "good", "fine-grained_score": 4.0},
                {"response": "fair", "fine-grained_score": 3.0},
            ],
        },
        asked,
    ),
    "skywork": (
        lambda n: {"chosen": [user(f"q{n}"), assistant("good")], "rejected": [user(f"q{n}"), assistant("bad")]},
        asked,
    ),
    "trl, text": (lambda n: {"prompt": f"q{n}", "chosen": "good", "rejected": "bad"}, asked),
    "trl, messages": (
        lambda n: {"prompt": [user(f"q{n}")], "chosen": [assistant("good")], "rejected": [assistant("bad")]},
        asked,
    ),
    "trl, several turns": (
        lambda n: {
            "prompt": [user(f"q{n}")],
            "chosen": [assistant("well"), user("and?"), assistant("good")],
            "rejected": [assistant("well"), user("and?"), assistant("bad")],
        },
        dialogue,
    ),
    "system turn in the messages only": (
        lambda n: {
            "prompt": f"q{n}",
            "chosen": [system("Be brief."), user(f"q{n}"), assistant("good")],
            "rejected": [system("Be brief."), user(f"q{n}"), assistant("bad")],
        },
        lambda n: (Turn("system", "Be brief."), *asked(n)),
    ),
    "from and value": (
        lambda n: {
            "chosen": [{"from": "human", "value": f"q{n}"}, {"from": "gpt", "value": "good"}],
            "rejected": [{"from": "human", "value": f"q{n}"}, {"from": "gpt", "value": "bad"}],
        },
        asked,
    ),
    "parts": (
        lambda n: {
            "chosen": [user(part(f"q{n}")), assistant(part("good"))],
            "rejected": [user(part(f"q{n}")), assistant(part("bad"))],
        },
        asked,
    ),
    "hh": (
        lambda n: {
            "chosen": f"\n\nHuman: q{n}\n\nAssistant: well\n\nHuman: and?\n\nAssistant: good",
            "rejected": f"\n\nHuman: q{n}\n\nAssistant: well\n\nHuman: and?\n\nAssistant: bad",
        },
        dialogue,
    ),
    "hh, prompt apart": (
        lambda n: {"prompt": f"\n\nHuman: q{n}\n\nAssistant:", "chosen": " good", "rejected": " bad"},
        asked,
    ),
}


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
@pytest.mark.parametrize("form", FORMS)
def test_each_form_gives_prompt_and_responses(form: str, ending: str, tmp_path: Path) -> None:
    make, prompt = FORMS[form]
    found = loaded(tmp_path, [make(place) for place in PLACES], f"pairs{ending}")
    assert [one.prompt for one in found.records] == [prompt(place) for place in PLACES]
    assert {(one.chosen, one.rejected) for one in found.records} == {("good", "bad")}
    assert {one.strength for one in found.records} == {2 if "helpsteer" in form else 1}


def test_rows_without_a_preference_are_counted_by_reason(tmp_path: Path) -> None:
    make = FORMS["skywork"][0]
    rows = [
        *map(make, range(12, 52)),
        make(8) | {"rejected": [user("q8"), assistant("good ")]},
        make(9) | {"score_chosen": 5, "score_rejected": 5.0},
        make(10) | {"rejected": [user("another"), assistant("bad")]},
        make(11) | {"rejected": [user("q11"), assistant("bad"), user("and?")]},
        make(52) | {"prompt": "", "chosen": "good", "rejected": "bad"},
        {"chosen": [assistant("hi"), assistant("good")], "rejected": [assistant("hi"), assistant("bad")]},
        make(12),
    ]
    found = loaded(tmp_path, rows)
    assert (found.n_rows, len(found.records), found.n_ties_left_out, found.n_repeated) == (47, 40, 2, 1)
    assert found.left_out == {
        "the two conversations differ before their last turn": 1,
        "a conversation does not end with a turn of the assistant": 1,
        "the prompt is empty": 1,
        "the turns before the response do not alternate between user and assistant": 1,
    }
    assert "ties (strength 0, equal scores or equal responses), left out: 2" in found.notes
    assert "repeated rows, left out: 1" in found.notes


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (
            {"prompt": "q", "answers": []},
            "row 1, column response_1, response_2, preference_strength: missing; the row ",
        ),
        (
            {"system": "s", "question": "q", "chosen": "a", "rejected": "b"},
            "row 1: the response is text, and the row has ",
        ),
        (
            {"prompt": "q", "chosen": ["a"], "rejected": ["b", "c"]},
            "row 1, column chosen: is a list of texts; several ",
        ),
        (
            {"prompt": "q", "chosen": [user("z"), assistant("a")], "rejected": "b"},
            "begin with other turns than the prompt",
        ),
        ({"chosen": [user([{"type": "image"}])], "rejected": []}, "turn 1 has parts that are not text"),
        ({"chosen": [{"role": "tool", "content": "x"}], "rejected": "b"}, "turn 1 has no role of user, assistant or "),
        ({"prompt": "q", "chosen": 4, "rejected": "b"}, "column chosen: 4 is not text; put it in quotes"),
        ({"prompt": "q", "chosen": {"a": 1}, "rejected": "b"}, "column chosen: {'a': 1} is not text; give it a text"),
        (
            FORMS["skywork"][0](0) | {"score_chosen": 1, "score_rejected": 2},
            "score_chosen is below score_rejected; swap ",
        ),
        ({"instruction": "q", "completions": [{"response": "a"}]}, "completion 1 has no fine-grained_score"),
    ],
)
def test_what_no_form_holds_is_named(row: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        loaded(tmp_path, [row])
    assert words in str(error.value)


def test_what_all_rows_lack_is_told_once_with_the_wanted_columns(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        loaded(tmp_path, [{"prompt": f"q{place}", "reply": "a"} for place in range(40)])
    assert str(error.value).count("\n") == 0
    assert str(error.value).endswith(
        "missing; the row has prompt, reply; wanted are prompt, response_1, response_2, preference_strength; or "
        "context, response1, response2, overall_preference; or chosen, rejected; or instruction, completions"
    )
    with pytest.raises(UserError) as error:
        loaded(tmp_path, [{"prompt": f"q{place}", "chosen": ["a"], "rejected": "b"} for place in range(40)])
    assert str(error.value).count("\n") == 0


def test_ratings_take_messages(tmp_path: Path) -> None:
    rows = [rating("a"), rating([user("a")], response=[assistant("yes")])]  # type: ignore[arg-type]
    found = load_ratings(DataSource(path=str(write(tmp_path / "r.jsonl", [*rows, rating("b")]))), tmp_path)
    assert [one.response for one in found.records[:2]] == ["answer 0 to a", "yes"]
    assert found.records[0].prompt == found.records[1].prompt == (Turn("user", "a"),)


def test_test_pairs_take_messages_and_ids_of_pandas(tmp_path: Path) -> None:
    item = benchmark_item("q", "s", 3.0, chosen=[assistant("yes")], rejected=[user("q"), assistant("no")])
    (pair,) = load_test_pairs(DataSource(path=str(write(tmp_path / "t.jsonl", [item]))), tmp_path)
    assert (pair.prompt, pair.chosen, pair.rejected, pair.item_id) == ((Turn("user", "q"),), "yes", "no", "3")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"chosen": ["a"], "rejected": ["b", "c"]}, "several completions per prompt, as RewardBench 2 has them"),
        ({"chosen": [assistant("a"), user("b")]}, "does not end with a turn of the assistant; correct the row"),
        ({"chosen": [user("other"), assistant("a")]}, "begin with other turns than the prompt"),
        ({"id": 2.5}, "2.5 is neither a whole number nor a name"),
        ({"id": 1e300}, "1e+300 is neither a whole number nor a name"),
    ],
)
def test_a_test_pair_of_another_form_is_refused(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", [benchmark_item("q", "s", 1) | change])
    with pytest.raises(UserError) as error:
        load_test_pairs(DataSource(path=str(path)), tmp_path)
    assert words in str(error.value)


def test_thoughts_with_a_key_of_their_own_stay_with_their_response(tmp_path: Path) -> None:
    thought = {"role": "assistant", "content": "good", "reasoning_content": "because"}
    rows = [{"prompt": f"q{place}", "chosen": [thought], "rejected": [assistant("bad")]} for place in PLACES]
    assert {one.chosen for one in loaded(tmp_path, rows).records} == {"<think>\nbecause\n</think>\n\ngood"}
