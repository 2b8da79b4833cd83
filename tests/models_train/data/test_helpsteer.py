"""Preferences and ratings: rows kept, splits by prompt, and counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from models_train.data.helpsteer import load_preferences, load_ratings
from models_train.data.records import Loaded, Preference, Rating, Turn, prompt_id
from models_train.errors import UserError
from models_train.study.training import DataSource
from tests.support import made_data, real_data
from tests.support.data_files import preference, rating, write


def preferences(tmp_path: Path, rows: list[dict[str, Any]], name: str = "pairs.jsonl") -> Loaded[Preference]:
    return load_preferences(DataSource(path=str(write(tmp_path / name, rows))), tmp_path)


def ratings(tmp_path: Path, files: dict[str, list[dict[str, Any]]], **more: Any) -> Loaded[Rating]:
    for name, rows in files.items():
        write(tmp_path / "ratings" / name, rows)
    return load_ratings(DataSource(path="ratings"), tmp_path, **more)


def test_the_sign_of_the_strength_says_which_response_is_better(tmp_path: Path) -> None:
    found = preferences(
        tmp_path, [preference("a", -3), preference("b", 2), preference("c", 0), preference("d", 1, "val")]
    )
    assert [(one.chosen, one.rejected, one.strength, one.split) for one in found.records] == [
        ("one to a", "two to a", 3, "train"),
        ("two to b", "one to b", 2, "train"),
        ("two to d", "one to d", 1, "validation"),
    ]
    assert (found.n_rows, found.n_ties_left_out, found.n_prompts_in_both_splits) == (4, 1, 0)


def test_a_prompt_in_both_splits_validates_and_is_not_trained_on(tmp_path: Path) -> None:
    rows = [preference("a"), preference("b"), preference("b", 2), preference("b", 1, "val"), preference("c")]
    found = preferences(tmp_path, rows)
    assert [one.prompt[0].text for one in found.train] == ["a", "c"]
    assert [one.prompt[0].text for one in found.validation] == ["b"]
    assert (found.n_prompts_in_both_splits, found.train_losses["split"]) == (1, 2)
    assert found.validation_prompt_ids == {prompt_id((Turn("user", "b"),))}


def test_without_a_split_five_percent_of_the_prompts_validate_whatever_the_order(tmp_path: Path) -> None:
    rows = [preference(f"prompt {n % 200}", 1 + n % 3, split=None) for n in range(600)]
    found = preferences(tmp_path, rows)
    again = preferences(tmp_path, rows[::-1], "turned.parquet")
    assert found.split_rule == "prompt hash"
    assert len(found.validation_prompt_ids) == 10
    assert found.validation_prompt_ids == again.validation_prompt_ids
    assert len(found.validation) == 30
    assert not found.validation_prompt_ids & {one.prompt_id for one in found.train}


def test_preferences_need_both_splits_and_rows_that_agree_on_having_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="1 pairs to train on and 0 to validate with, of 2 rows"):
        preferences(tmp_path, [preference("a"), preference("b", 0, "val")])
    with pytest.raises(UserError, match="0 pairs to train on and 0 to validate with, of 0 rows"):
        preferences(tmp_path, [])
    with pytest.raises(UserError, match="row 2, column split: missing, but other rows have it"):
        preferences(tmp_path, [preference("a"), preference("b", split=None), preference("c", 1, "val")])


@pytest.mark.parametrize(
    "names",
    [("train.jsonl.gz", "validation.jsonl.gz"), ("train/0.parquet", "val/0.parquet"), ("train-1.jsonl", "valid.jsonl")],
)
def test_ratings_are_split_by_the_names_of_files_and_by_prompt(names: tuple[str, str], tmp_path: Path) -> None:
    train = [rating("a", 0), rating("a", 1), rating("b", 2)]
    found = ratings(tmp_path, {names[0]: train, names[1]: [rating("b", 3), rating("c", 4)], "preference/p.jsonl": []})
    assert found.split_rule == "file names"
    assert [(one.prompt[0].text, one.attributes, one.split) for one in found.records] == [
        ("a", (0, 1, 2, 3, 4), "train"),
        ("a", (1, 2, 3, 4, 0), "train"),
        ("b", (3, 4, 0, 1, 2), "validation"),
        ("c", (4, 0, 1, 2, 3), "validation"),
    ]
    assert (found.n_rows, found.n_prompts_in_both_splits, found.train_losses["split"]) == (5, 1, 1)


@pytest.mark.parametrize(
    "names",
    [
        ("training_courses.jsonl", "devops.jsonl", "values_and_ethics.jsonl"),
        ("trainspotting/a.jsonl", "evaluation_essays/b.jsonl", "validity.jsonl"),
        ("train.jsonl", "testing-methods.jsonl", "dev_tools.jsonl"),
        ("development.jsonl", "test-driven.jsonl", "trains/1.jsonl"),
    ],
)
def test_files_named_by_topic_are_no_splits(names: tuple[str, ...], tmp_path: Path) -> None:
    place = tmp_path / "test" / "train"  # outside of the data set
    for file, name in enumerate(names):
        write(place / name, [preference(f"{file} {n}", split=None) for n in range(10)])
    found = load_preferences(DataSource(path="test/train"), tmp_path)
    assert found.split_rule == "prompt hash"
    assert len(found.validation) == 2
    assert found.notes == [
        "test/train, 3 files: 30 rows, no split in columns or file names: prompts with the smallest hashes validate"
    ]


@pytest.mark.parametrize(
    ("train", "validation"),
    [
        ("train-00000-of-00001.parquet", "validation-00000-of-00001.parquet"),
        ("Train.jsonl", "TEST_01.jsonl.gz"),
        ("data/train/2023/a.jsonl", "data/dev/2023/a.jsonl"),
        ("train_prefs-00000-of-00001.parquet", "test_prefs-00000-of-00001.parquet"),
        ("extra.jsonl", "eval.jsonl.zst"),
    ],
)
def test_splits_by_the_names_of_files_are_told(train: str, validation: str, tmp_path: Path) -> None:
    write(tmp_path / "data" / train, [preference(f"t{n}", split=None) for n in range(6)])
    write(tmp_path / "data" / "train_9.jsonl", [preference("t", split=None)])
    write(tmp_path / "data" / validation, [preference(f"v{n}", split=None) for n in range(3)])
    found = load_preferences(DataSource(path="data"), tmp_path)
    assert len(found.validation) == 3
    assert len(found.train) == (6 if "prefs" in train else 7), "only the files of pairs are read"
    assert f"split by file names: {validation} validate, other files train" in found.notes[0]


def test_values_of_the_split_are_known_ones_in_any_case(tmp_path: Path) -> None:
    words = ["Train", "TRAIN ", "training", "val", "Validation", "dev", "TEST", "eval", "valid"]
    found = preferences(tmp_path, [preference(f"p{n}", split=word) for n, word in enumerate(words)])
    assert (len(found.train), len(found.validation)) == (3, 6)
    with pytest.raises(
        UserError, match=r"row 2, column split: 'raw' is no split; the splits are train, training, val, "
    ):
        preferences(tmp_path, [preference("a"), preference("b", split="raw")])


def test_equal_responses_are_ties(tmp_path: Path) -> None:
    rows = [
        preference("a"),
        preference("b", response_1="x", response_2="x\n"),
        preference("c", 0),
        preference("v", 1, "val"),
    ]
    found = preferences(tmp_path, rows)
    assert (found.n_ties_left_out, len(found.records)) == (2, 2)
    with pytest.raises(UserError, match=r"0 pairs to train on .*equal responses\), left out: 2\)"):
        preferences(tmp_path, [preference(name, 1, "val", response_1="x", response_2="x") for name in "ab"])


def test_rows_that_lie_in_several_files_count_once(tmp_path: Path) -> None:
    rows = [preference(f"p{n}", split="val" if n % 4 else "train") for n in range(8)]
    once = preferences(tmp_path, rows)
    for name in ("pairs.jsonl", "pairs (1).jsonl", "old/pairs.parquet"):
        write(tmp_path / "data" / name, rows)
    turned = [
        row | {"response_1": row["response_2"], "response_2": row["response_1"], "preference_strength": 1}
        for row in rows
    ]
    write(tmp_path / "data" / "turned.jsonl", turned)
    found = load_preferences(DataSource(path="data"), tmp_path)
    assert found.records == once.records
    assert (found.n_rows, found.n_repeated) == (32, 24)
    assert "repeated rows, left out: 24" in found.notes


def test_equal_ratings_of_one_file_stay_and_are_told(tmp_path: Path) -> None:
    rows = [rating("a"), rating("a"), rating("b", 1), rating("c", 1)]
    found = ratings(tmp_path, {"one.jsonl": rows, "two.jsonl": rows[:3]})
    assert len([one for one in found.records if one.prompt == (Turn("user", "a"),)]) == 2
    assert (len(found.records), found.n_repeated, found.n_repeated_kept) == (4, 3, 1)


def test_ratings_of_held_out_prompts_are_not_trained_on(tmp_path: Path) -> None:
    rows = [rating(f"prompt {n}", n) for n in range(40)]
    held_out = {prompt_id((Turn("user", f"prompt {n}"),)) for n in range(10)}
    found = ratings(tmp_path, {"all.jsonl": rows}, held_out=held_out)
    assert found.split_rule == "prompt hash"
    assert not held_out & {one.prompt_id for one in found.train}
    assert len(found.train) + found.train_losses["split"] + len(found.validation) == 40
    with pytest.raises(UserError, match="none of its 40 rows is left to train on"):
        ratings(tmp_path, {}, held_out={one.prompt_id for one in found.records} | held_out)


def test_the_same_prompt_has_the_same_id_in_every_data_set(tmp_path: Path) -> None:
    prompt = "a\n<extra_id_1>Assistant\nb\n<extra_id_1>User\nc"
    pair = preferences(tmp_path, [preference(prompt), preference("v", 1, "val")]).train[0]
    rated = ratings(tmp_path, {"r.jsonl": [rating(prompt, split="train"), rating("v", split="val")]}).train[0]
    assert pair.prompt == rated.prompt
    assert pair.prompt_id == rated.prompt_id


def test_made_preferences(tmp_path: Path) -> None:
    found = preferences(tmp_path, made_data.preferences(60, 20))
    assert (found.n_rows, len(found.train), len(found.validation)) == (80, 60, 20)
    assert (found.n_ties_left_out, found.n_prompts_in_both_splits, found.split_rule) == (0, 0, "column split")


@pytest.mark.real_data
def test_real_preferences(tmp_path: Path) -> None:
    found = load_preferences(DataSource(path=str(real_data.PREFERENCES)), tmp_path)
    assert (found.n_rows, len(found.train), len(found.validation)) == (789, 631, 158)
    assert (found.n_ties_left_out, found.n_prompts_in_both_splits, found.split_rule) == (0, 0, "column split")


def test_ratings_without_a_split_take_that_of_the_preferences(tmp_path: Path) -> None:
    """Prompts held out for the preferences validate: no rating of them is lost."""
    rows = [rating(f"p{n}", split=None) for n in range(100)]
    held_out = frozenset(prompt_id((Turn("user", f"p{n}"),)) for n in range(20))
    found = ratings(tmp_path, {"all.jsonl": rows}, held_out=held_out)
    assert found.split_rule == "prompt hash" and found.train_losses["split"] == 0
    assert len(found.train) + len(found.validation) == 100
    assert {one.prompt_id for one in found.validation} >= held_out
