"""The choice of prompts: the same whatever the order of the rows, no prompt twice, and bad rows named."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from models_train.data.records import Turn, prompt_id
from models_train.errors import UserError
from models_train.policies.prompts import LAB_SIZES, PromptSet, load_prompts, prompt_rows
from models_train.study.lab import Lab
from models_train.study.study import Study, load_study
from models_train.study.teachers import Teachers
from models_train.synthetic.preferences import asked_question, preference_rows, split_of
from tests.support.data_files import write
from tests.support.response_studies import prompts, sampling_study
from tests.support.studies import SETTINGS, study_of


def chosen(folder: Path, rows: Any) -> PromptSet:
    study = sampling_study(folder, rows)
    return load_prompts(load_study(study), folder)


def refusal(folder: Path, rows: Any) -> str:
    with pytest.raises(UserError) as caught:
        chosen(folder, rows)
    return str(caught.value)


def lab_study(seed: int) -> Study:
    spec = {"model_id": "hub", "architecture": "llama", "hidden": 16, "layers": 1, "pretraining_tokens": 10}
    lab = Lab.model_validate({"seed": seed, "models": [spec | {"mix": {"Github": 1.0}}]})
    return study_of(SETTINGS).model_copy(update={"lab": lab, "teachers": Teachers()})


def test_order_and_further_rows_change_nothing(tmp_path: Path) -> None:
    rows = prompts(40)
    found = chosen(tmp_path, rows).prompts
    assert [one.split for one in found] == ["measure"] * 8 + ["teach"] * 4
    assert [one.order_no for one in found] == list(range(1, 13))
    assert len({one.prompt_id for one in found}) == 12
    random.Random(0).shuffle(rows)
    shuffled = chosen(tmp_path, rows).prompts
    ids = [one.prompt_id for one in found]
    assert [one.prompt_id for one in shuffled] == ids
    more = chosen(tmp_path, [*rows, {"prompt": "One more"}]).prompts
    assert len({one.prompt_id for one in more} - set(ids)) <= 1
    (first, *_) = prompt_rows(found)
    assert first["content_hash"] == first["prompt_id"] == prompt_id(found[0].turns)
    assert (first["n_turns"], first["n_bytes"]) == (1, len(found[0].turns[0].text))
    assert first["source"].startswith("prompts.jsonl@") and first["gold"] is None


def test_messages_ids_and_gold_are_kept(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"}]
    row = {"prompt": [*turns, {"role": "user", "content": "2+2é"}], "prompt_id": 7}
    gold = {"gold_kind": "math_answer", "gold": {"answer": "4é"}}
    found = chosen(tmp_path, [*prompts(11), row | gold]).prompts
    (mine,) = (one for one in found if one.prompt_id == "7")
    assert mine.turns == (Turn("user", "Hi"), Turn("assistant", "Yes?"), Turn("user", "2+2é"))
    assert (mine.gold_kind, mine.gold) == ("math_answer", '{"answer": "4é"}')
    (listed,) = (one for one in prompt_rows(found) if one["prompt_id"] == "7")
    assert (listed["n_turns"], listed["n_bytes"]) == (3, 11) and listed["content_hash"] == prompt_id(mine.turns)


def test_equal_prompts_count_once_and_are_told(tmp_path: Path) -> None:
    rows = prompts(12)
    found = chosen(tmp_path, [*rows, *rows[:3], rows[0]])
    assert len(found.prompts) == 12
    assert found.notes[1:] == ("questions: 4 rows repeat a prompt, which counts once",)


def test_stated_splits_decide_and_none_is_in_both(tmp_path: Path) -> None:
    rows = [row | {"split": "Train" if place % 2 else "test"} for place, row in enumerate(prompts(24))]
    both = [row | {"split": "teach"} for row in rows[:2] if row["split"] == "test"]
    found = chosen(tmp_path, [*both, *rows])
    by_text = {row["prompt"]: row["split"] for row in rows}
    for one in found.prompts:
        assert by_text[one.turns[0].text] == ("test" if one.split == "measure" else "Train")
    assert "questions: 1 prompts are stated for both splits; they count as measure alone" in found.notes
    few = refusal(tmp_path, [row | {"split": "teach"} for row in prompts(30)])
    assert few == (
        "prompts.jsonl: 0 distinct prompts have the split measure, and 8 are asked for; lower "
        "teachers.prompts.measure, or give more rows"
    )


def test_too_few_rows_are_refused_with_their_number(tmp_path: Path) -> None:
    assert refusal(tmp_path, [*prompts(11), prompts(1)[0]]) == (
        "prompts.jsonl: holds 11 distinct prompts, and 12 are asked for (measure 8, teach 4); lower these settings, or "
        "give more rows"
    )


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": " "}, "column prompt: is empty; fill it in, or remove the row"),
        ({"prompt": None}, "column prompt"),
        ({"prompt": 5}, "column prompt"),
        ({"question": "x"}, "column prompt: missing; the row has question"),
        ({"prompt": "half \ud800"}, "half a character"),
        ({"prompt": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}, "end with the user"),
        ({"prompt": [{"role": "robot", "content": "a"}]}, "turn 1 has no role"),
        ({"prompt": "x", "split": "half"}, "is no split; it is measure or teach"),
        ({"prompt": "x", "split": "measure"}, "other rows have it; give every row its split"),
        ({"prompt": "x", "gold": "4"}, "has gold, but no gold_kind; add it, or remove gold"),
        ({"prompt": "x", "gold_kind": "math_answer"}, "has gold_kind, but no gold"),
        ({"prompt": "x", "gold_kind": "maths_answer", "gold": "4"}, "did you mean 'math_answer'?"),
        ({"prompt": "x", "gold_kind": "lab", "gold": "4"}, "is no gold_kind"),
        ({"prompt": "x", "prompt_id": 1.5}, "column prompt_id"),
        ({"prompt": "x", "prompt_id": ""}, "column prompt_id"),
        ({"prompt": "x", "prompt_id": "y" * 400}, "give a shorter id"),
    ],
)
def test_a_bad_row_is_named(row: dict[str, Any], said: str, tmp_path: Path) -> None:
    sampling_study(tmp_path)
    lines = [json.dumps(one) for one in [*prompts(20), row]]
    study = load_study(tmp_path / "scores.yaml")
    (tmp_path / "prompts.jsonl").write_text("\n".join(lines))
    with pytest.raises(UserError) as caught:
        load_prompts(study, tmp_path)
    where = "prompts.jsonl, row" if row.get("split") == "measure" else "prompts.jsonl, row 21"
    assert where in str(caught.value) and said in str(caught.value)


def test_an_id_of_two_prompts_is_refused(tmp_path: Path) -> None:
    rows = [row | {"prompt_id": str(min(place, 10))} for place, row in enumerate(prompts(12))]
    assert refusal(tmp_path, rows) == (
        "prompts.jsonl, row 12, column prompt_id: '10' is also the id of another prompt, in row 11 of prompts.jsonl; "
        "give each prompt its own"
    )


def test_what_is_no_data_is_refused(tmp_path: Path) -> None:
    study = load_study(sampling_study(tmp_path))
    (tmp_path / "prompts.jsonl").write_text("not JSON\n")
    with pytest.raises(UserError, match=r"prompts.jsonl, row 1: is not JSON"):
        load_prompts(study, tmp_path)
    (tmp_path / "prompts.jsonl").unlink()
    with pytest.raises(UserError, match=r"there is no .*prompts.jsonl; correct the path"):
        load_prompts(study, tmp_path)
    write(tmp_path / "prompts.jsonl", [])
    assert "holds 0 distinct prompts" in refusal(tmp_path, [])


def test_prompts_of_the_lab_are_new_ones_and_can_be_graded(tmp_path: Path) -> None:
    found = load_prompts(lab_study(3), tmp_path).prompts
    sizes = {split: sum(one.split == split for one in found) for split in LAB_SIZES}
    assert sizes == LAB_SIZES and len({one.prompt_id for one in found}) == len(found)
    texts = [one.turns[0].text for one in found]
    assert {split_of(text) for text in texts} == {"test"}
    trained = {row["prompt"] for split in ("train", "validation") for row in preference_rows(80, 3, 0.5, split)}  # type: ignore[arg-type]
    assert not trained.intersection(texts)
    for one in found:
        assert one.gold_kind == "lab" and one.gold is not None
        question = asked_question(json.loads(one.gold)["dice"])
        assert question.prompt == one.turns[0].text and question.is_right(question.good.text)
