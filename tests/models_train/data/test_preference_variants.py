"""Variants of preferences: files of labels, pairs turned round, rules; bad files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from models_train.data.preference_variants import (
    Estimate,
    best_threshold,
    folds_of,
    kept_pairs,
    labelled_pairs,
    pair_id,
)
from models_train.data.records import Loaded, Preference, Split, Turn, prompt_id
from models_train.errors import UserError
from models_train.study.training import Training
from tests.support.data_files import write

BASE: dict[str, Any] = {"preferences": {"path": "p.jsonl"}, "objectives": ["bradley_terry"], "noise": {"model_id": "a"}}
MODELS = {"models": ["a"]}


def pairs(n: int, split: Split = "train") -> tuple[Preference, ...]:
    """Pairs of n prompts: the better response is `yes`."""
    prompts = [(Turn("user", f"{split} {number}?"),) for number in range(n)]
    return tuple(Preference(one, "yes", "no", 1, prompt_id(one), split) for one in prompts)


def loaded(n: int = 20, n_validation: int = 30) -> Loaded[Preference]:
    records = (*pairs(n), *pairs(n_validation, "validation"))
    return Loaded(records, n_rows=len(records), n_ties_left_out=0, n_prompts_in_both_splits=0, split_rule="prompt hash")


def training(*variants: dict[str, Any]) -> Training:
    return Training.model_validate(BASE | {"variants": [MODELS | one for one in variants]})


def no_estimate(data_id: str | None) -> Estimate:
    raise AssertionError(f"no rule asks for the estimate of {data_id}")


def test_labels_of_a_file_keep_turn_round_and_drop(tmp_path: Path) -> None:
    data = loaded(5)
    names = [pair_id(one) for one in data.train]
    kinds = ("same", "opposite", "toxic", "empty")
    write(tmp_path / "l.jsonl", [{"pair_id": n, "label_kind": k} for n, k in zip(names, kinds, strict=False)])
    settings = training(
        {"data_id": "strict", "labels": "l.jsonl"},
        {"data_id": "loose", "labels": "l.jsonl", "keep": ["original", "same", "toxic"]},
    )
    found = labelled_pairs(settings, "strict", tmp_path, no_estimate, data)
    assert [one.label_kind for one in found] == [*kinds, "original"]
    assert [one.is_kept for one in found] == [True, True, False, False, False]
    assert [one.pair.chosen for one in found] == ["yes", "no", "yes", "yes", "yes"]
    assert [one.pair_id for one in found] == names, "a pair that is turned round keeps its name"
    kept = kept_pairs(settings, "loose", tmp_path, no_estimate, data)
    assert kept == [data.train[0], data.train[2], data.train[4]]


def test_shares_are_exact_nested_and_independent_of_the_order(tmp_path: Path) -> None:
    settings = training(
        {"data_id": "a", "flip": 0.1},
        {"data_id": "b", "flip": 0.25},
        {"data_id": "other", "flip": 0.25, "seed": 1},
        {"data_id": "back", "of": "b", "flip": 0.25},
    )
    data = loaded(40)

    def turned(data_id: str, of: Loaded[Preference] = data) -> set[str]:
        found = labelled_pairs(settings, data_id, tmp_path, no_estimate, of)
        assert all((one.label_kind == "flipped") == (one.pair.chosen == "no") for one in found)
        return {one.pair_id for one in found if one.label_kind == "flipped"}

    assert [len(turned(name)) for name in ("a", "b", "other")] == [4, 10, 10]
    assert turned("a") < turned("b") != turned("other")
    backwards = Loaded(
        data.records[::-1], n_rows=70, n_ties_left_out=0, n_prompts_in_both_splits=0, split_rule="prompt hash"
    )
    assert turned("b", backwards) == turned("b")
    assert turned("back") == set(), "the same pairs, turned round again"


def test_a_threshold_corrects_the_most_labels_net_of_those_it_spoils() -> None:
    # Half of the labels below 0.3 are wrong beyond what clean ones show: D - 2 (1 - e) F by hand.
    labels = [0.1, 0.1, 0.2, 0.3, 0.6, 0.7, 0.8, 0.9, 0.9, 0.9]
    clean = [0.3, 0.5, 0.6, 0.7, 0.8, 0.8, 0.9, 0.9, 0.9, 0.9]
    gains = {
        t: sum(p < t for p in labels) / 10 - 2 * 0.8 * sum(p < t for p in clean) / 10 for t in (0.15, 0.25, 0.35, 0.65)
    }
    assert max(gains, key=lambda t: gains[t]) == 0.25
    threshold = best_threshold(labels, clean, noise=0.2)
    assert 0.2 < threshold < 0.3
    assert best_threshold(clean, clean, noise=0.0) == 0, "labels like the clean ones are left alone"


@pytest.mark.parametrize("rule", ["drop", "flip"])
def test_a_rule_is_chosen_on_clean_validation_pairs_alone(tmp_path: Path, rule: str) -> None:
    data = loaded(20, 30)
    own = [pair_id(one) for one in data.train]
    validating = [pair_id(one) for one in data.validation]
    suspect = set(own[:5])
    # An opposite label of a clean pair is right where p is low.
    kinds = ["opposite" if place < 3 else "same" for place in range(25)]
    rows = [{"pair_id": name, "label_kind": kind} for name, kind in zip(validating, kinds, strict=False)]
    rows += [{"pair_id": name, "label_kind": "same"} for name in own[:3]]
    write(tmp_path / "l.jsonl", rows)
    p_labels = {name: 0.1 if name in suspect else 0.9 for name in own}
    p_labels |= {name: 0.1 if place < 3 else 0.9 for place, name in enumerate(validating)}
    asked: list[str | None] = []

    def estimates(data_id: str | None) -> Estimate:
        asked.append(data_id)
        return Estimate(p_labels, 0.25)

    settings = training({"data_id": "v", "rule": rule, "clean": "l.jsonl"})
    found = labelled_pairs(settings, "v", tmp_path, estimates, data)
    assert asked == [None]
    hit = {one.pair_id for one in found if (not one.is_kept if rule == "drop" else one.label_kind == "flipped")}
    assert hit == suspect, "labels of training pairs in the file change nothing"
    assert [one.pair.chosen for one in found[:6]] == (["yes"] * 6 if rule == "drop" else ["no"] * 5 + ["yes"])


def test_files_of_labels_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    data = loaded(3, 30)
    name = pair_id(data.train[0])
    settings = training({"data_id": "v", "labels": "l.jsonl"}, {"data_id": "r", "rule": "drop", "clean": "c.jsonl"})
    for rows, message in (
        ([{"pair_id": "0" * 16, "label_kind": "same"}], "'0000000000000000' is no pair of the preferences"),
        (
            [{"pair_id": name, "label_kind": "good"}],
            "row 1, column label_kind: 'good' is no kind of label; the kinds are",
        ),
        ([{"pair_id": name, "label_kind": "flipped"}], "'flipped' is no kind of label"),
        (
            [{"pair_id": name, "label_kind": "same"}] * 2,
            f"row 2, column pair_id: '{name}' is already labelled in row 1",
        ),
        ([{"pair_id": name}], "missing"),
        ([{"pair_id": name, "label_kind": "vague"}], "the variant v keeps none of 3 training pairs"),
    ):
        write(tmp_path / "l.jsonl", rows)
        with pytest.raises(UserError, match=r"l\.jsonl|variant v") as caught:
            kept_pairs(settings, "v", tmp_path, no_estimate, data)
        assert message in str(caught.value)
    write(tmp_path / "c.jsonl", [{"pair_id": pair_id(data.validation[0]), "label_kind": "same"}])
    with pytest.raises(UserError, match=r"c\.jsonl has 1 validation pairs labelled same or opposite; .* needs 20"):
        labelled_pairs(settings, "r", tmp_path, lambda _: Estimate({pair_id(data.validation[0]): 0.5}, 0.1), data)


def test_folds_never_share_a_prompt_and_are_equally_large() -> None:
    prompts = [
        (Turn("user", text),)
        for number in range(30)
        for text in (f"Ask {number}", f" ask  {number}\n", f"ASK {number}")
    ]
    folds = folds_of(prompts, 5)
    assert [len(set(folds[place : place + 3])) for place in range(0, 90, 3)] == [1] * 30
    assert [folds.count(fold) for fold in range(5)] == [18] * 5
    assert folds_of(prompts[::-1], 5) == folds[::-1]
