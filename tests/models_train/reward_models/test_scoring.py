"""Rewards of completions: those of Transformers alone, however they are packed; a status for what fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig

from models_train.data.chat import Renderer, TooLong
from models_train.data.records import ATTRIBUTES, TestPair, Turn
from models_train.data.rewardbench import load_test_pairs
from models_train.modeling.base_models import ModelSource, load_tokenizer
from models_train.modeling.packing import Pack
from models_train.parts import check_rows
from models_train.reward_benchmarks.items import Item, completions, of_test_set
from models_train.reward_models.model import RewardModel
from models_train.reward_models.scoring import score_items, token_rewards
from models_train.study.training import DataSource
from tests.support import made_data, real_data
from tests.support.data_files import write
from tests.support.tiny_models import SIZES, byte_tokenizer, classifier_of, one_by_one
from warehouse.contracts import TABLES

WEIGHTS = dict(zip(ATTRIBUTES, (0.65, 0.8, 0.45, 0.55, -0.4), strict=True))

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module", params=["made", pytest.param("real", marks=pytest.mark.real_data)])
def data(request: pytest.FixtureRequest, storyteller: Path) -> tuple[str, ModelSource]:
    """Whose data, and a trained model of a context of 512 tokens."""
    place = storyteller if request.param == "made" else real_data.STORIES
    return request.param, ModelSource("stories", str(place))


@pytest.fixture(scope="module")
def pairs(data: tuple[str, ModelSource], tmp_path_factory: pytest.TempPathFactory) -> tuple[TestPair, ...]:
    """About 20 pairs of many subsets, some too long for the context."""
    path, every = real_data.TEST_PAIRS, 90
    if data[0] == "made":
        path, every = write(tmp_path_factory.mktemp("pairs") / "pairs.jsonl", made_data.test_pairs(3)), 4
    return load_test_pairs(DataSource(path=str(path)), path.parent)[::every]


@pytest.fixture(scope="module")
def renderer(data: tuple[str, ModelSource]) -> Renderer:
    return Renderer(load_tokenizer(data[1]), 4096)


@pytest.fixture(scope="module")
def regression(data: tuple[str, ModelSource]) -> RewardModel:
    """The model with a random head of five outputs."""
    return RewardModel.from_base(data[1], 5, 0, torch.float32)


def items(pairs: Sequence[TestPair]) -> list[Item]:
    return list(of_test_set(pairs, "made").items.values())


def rewards(rows: Rows) -> torch.Tensor:
    """Rewards of the rows that have one; the others are told by their status."""
    assert all((row["reward"] is None) == (row["status"] != "ok") for row in rows)
    return torch.tensor([row["reward"] for row in rows if row["reward"] is not None])


def test_rewards_equal_those_of_transformers_alone(
    data: tuple[str, ModelSource], regression: RewardModel, renderer: Renderer, pairs: Sequence[TestPair]
) -> None:
    rows = score_items(regression, renderer, items(pairs), WEIGHTS)
    assert len(rows) == len(pairs) * 2 * 6
    arrow = check_rows(
        TABLES["completion_rewards"],
        [{"reward_id": "stories/regression", **row} for row in rows],
        study_id="s",
        run_id="r",
    )
    assert arrow.num_rows == len(rows)
    plain = RewardModel.from_base(data[1], 5, 0, torch.float32).classifier
    plain.set_attn_implementation("sdpa")
    by_key = {(row["subset"], row["item_id"], row["completion"], row["attribute"]): row for row in rows}
    names = (*ATTRIBUTES, "merged")
    too_long: list[str] = []
    for pair, name in product(pairs, ("chosen", "rejected")):
        found = [by_key[pair.subset, pair.item_id, name, attribute] for attribute in names]
        try:
            rendered = renderer.render(pair.prompt, getattr(pair, name))
        except TooLong as error:
            too_long.append(str(error))
            assert {row["status"] for row in found} == {str(error)}
            continue
        with torch.no_grad():
            wanted = one_by_one(plain, [rendered.token_ids])[0].double()
        merged = wanted @ torch.tensor(list(WEIGHTS.values()), dtype=torch.float64)
        given = torch.tensor([row["reward"] for row in found], dtype=torch.float64)
        assert torch.allclose(given, torch.cat([wanted, merged[None]]), atol=2e-5, rtol=1e-5)
        assert {row["n_tokens"] for row in found} == {len(rendered.token_ids)}
        assert {row["is_truncated"] for row in found} == {rendered.is_truncated}
        assert {row["status"] for row in found} == {"ok"}
    assert {row["is_truncated"] for row in rows} == {True, False} and 0 < len(too_long) < len(pairs)


def test_rewards_do_not_depend_on_packs_or_order(
    regression: RewardModel, renderer: Renderer, pairs: Sequence[TestPair]
) -> None:
    wanted = score_items(regression, renderer, items(pairs), WEIGHTS, tokens_per_pack=1)
    for tokens_per_pack in (700, 100_000):
        rows = score_items(regression, renderer, items(pairs), WEIGHTS, tokens_per_pack)
        assert (rewards(rows) - rewards(wanted)).abs().max() < 1e-5
        assert [(row["item_id"], row["status"]) for row in rows] == [(row["item_id"], row["status"]) for row in wanted]
    turned = score_items(regression, renderer, items(pairs[::-1]), WEIGHTS)
    key = ("subset", "item_id", "completion", "attribute")
    turned.sort(key=lambda row: [row[name] for name in key])
    wanted.sort(key=lambda row: [row[name] for name in key])
    assert (rewards(turned) - rewards(wanted)).abs().max() < 1e-5


def test_progress_counts_every_sequence_and_token(
    regression: RewardModel, renderer: Renderer, pairs: Sequence[TestPair]
) -> None:
    seen: list[tuple[int, int]] = []
    rows = score_items(
        regression, renderer, items(pairs[:5]), tokens_per_pack=600, progress=lambda *counts: seen.append(counts)
    )
    assert len(rows) == 50 and "merged" not in {row["attribute"] for row in rows}
    assert len(seen) > 1 and sum(n for n, _ in seen) == 10
    assert sum(n for _, n in seen) == sum(row["n_tokens"] or 0 for row in rows) // 5


def pair(chosen: str, rejected: str = "No.", item_id: str = "1") -> TestPair:
    return TestPair((Turn("user", "Is it?"),), chosen, rejected, "subset", item_id)


def statuses(model: RewardModel, renderer: Renderer, given: Sequence[TestPair]) -> dict[tuple[str, str], str]:
    rows = score_items(model, renderer, items(given))
    for row in rows:
        assert (row["reward"] is None) == (row["status"] != "ok")
    return {(row["item_id"], row["completion"]): row["status"] for row in rows}


def test_an_item_that_fails_is_a_row_with_a_status() -> None:
    model = RewardModel(classifier_of(LlamaConfig(**SIZES), 1))
    tokenizer = byte_tokenizer()
    bad = tokenizer("~", add_special_tokens=False)["input_ids"][0]
    with torch.no_grad():
        model.classifier.get_input_embeddings().weight[bad] = float("nan")
    given = [pair("Yes."), pair("", item_id="2"), pair("Yes~", item_id="3"), pair("y" * 90, item_id="4")]
    given.append(replace(given[0], prompt=(Turn("user", "half \ud800"),), item_id="5"))
    found = statuses(model, Renderer(tokenizer, 80), given)
    assert found.pop(("4", "chosen")).startswith("too long")
    assert {key: status for key, status in found.items() if status != "ok"} == {
        ("2", "chosen"): "empty response",
        ("3", "chosen"): "the model gives no finite reward",
        ("5", "chosen"): "a text holds half a character (a lone surrogate)",
        ("5", "rejected"): "a text holds half a character (a lone surrogate)",
    }
    with torch.no_grad():
        model.head.weight.fill_(float("inf"))
    assert set(statuses(model, Renderer(tokenizer, 80), given[:1]).values()) == {"the model gives no finite reward"}


def test_tokens_that_the_model_does_not_know_get_a_status() -> None:
    model = RewardModel(classifier_of(LlamaConfig(**SIZES | {"vocab_size": 60}), 1))
    found = token_rewards(model, [[1, 5, 59], [1, 60], [], [-1, 2], [2]])
    assert [one.status for one in found] == [
        "ok",
        "token 60 is outside the model's vocabulary of 60",
        "no tokens",
        "token -1 is outside the model's vocabulary of 60",
        "ok",
    ]
    assert [one.rewards is None for one in found] == [False, True, True, True, False]


def test_a_sequence_that_the_model_refuses_does_not_take_its_pack_with_it() -> None:
    rope = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}
    model = RewardModel(classifier_of(LlamaConfig(**SIZES | {"max_position_embeddings": 60}, rope_parameters=rope), 1))
    given = [pair("Yes."), pair("y" * 90, item_id="2"), pair("No?", item_id="3")]
    found = statuses(model, Renderer(byte_tokenizer(), 500), given)
    (wrong,) = [key for key, status in found.items() if status != "ok"]
    assert wrong == ("2", "chosen") and "longer than the 60" in found[wrong]


def test_a_pack_that_does_not_fit_in_memory_is_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    model = RewardModel(classifier_of(LlamaConfig(**SIZES), 1))
    sequences = [[1] * 20, [2] * 30, [3] * 50, [4] * 10]
    wanted = [one.rewards for one in token_rewards(model, sequences)]
    enough = RewardModel.rewards

    def small(self: RewardModel, pack: Pack) -> torch.Tensor:
        if sum(pack.lengths) > 40:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return enough(self, pack)

    monkeypatch.setattr(RewardModel, "rewards", small)
    found = token_rewards(model, sequences)
    assert [one.status for one in found] == ["ok", "ok", "50 tokens do not fit in the device's memory", "ok"]
    for index in (0, 1, 3):
        assert found[index].rewards == pytest.approx(wanted[index], abs=1e-6)


def test_items_of_every_shape_have_the_rewards_of_transformers_alone() -> None:
    """Several turns, an empty text, completions in numbers that differ, several right ones, three styles."""
    turns = (Turn("system", "Be brief."), Turn("user", "Two?"), Turn("assistant", "Three."), Turn("user", "Sure?"))
    question = (Turn("user", "Name a prime."),)
    given = [
        Item("mine", "pairs", "turns", completions(["No, two."], ["Yes."]), prompt=turns),
        Item("mine", "pairs", "empty", completions(["2"], [""]), prompt=question),
        Item("rewardbench2", "Math", "1", completions(["2"], ["4", "6", "8"]), prompt=question),
        Item("rewardbench2", "Ties", "tied:1", completions([str(n) for n in (2, 3, 5, 7)], ["9"]), prompt=question),
        Item(
            "rm_bench",
            "math",
            "1",
            completions(["2", "It is 2.", "**2**"], ["4", "It is 4.", "**4**"], styles=("a", "b", "c")),
            prompt=question,
        ),
        Item("mine", "pairs", "unknown", completions(["2"], [None]), prompt=question),
    ]
    classifier = classifier_of(LlamaConfig(**SIZES), 1)
    renderer = Renderer(byte_tokenizer(), 400)
    rows = score_items(RewardModel(classifier_of(LlamaConfig(**SIZES), 1)), renderer, given)
    wanted = [(item, one) for item in given for one in item.completions]
    assert len(rows) == len(wanted) == 21
    for row, (item, one) in zip(rows, wanted, strict=True):
        assert [row[name] for name in ("benchmark", "subset", "item_id", "completion", "attribute")] == [
            *(item.benchmark, item.subset, item.item_id, one.name),
            "reward",
        ]
        if not one.text or item.prompt is None:
            assert (row["reward"], row["n_tokens"]) == (None, None)
            assert row["status"] == ("empty response" if one.text == "" else "the text is not known")
            continue
        ids = renderer.render(item.prompt, one.text).token_ids
        with torch.no_grad():
            assert row["reward"] == pytest.approx(one_by_one(classifier, [ids]).item(), abs=1e-5)
        assert row["n_tokens"] == len(ids)
