"""Critiques given to pairs: the filter, the placebo, true critiques; and scoring with critiques that are cut."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from transformers import LlamaConfig

from models_train.data.chat import Renderer
from models_train.data.critiques import Critique, by_response
from models_train.data.records import Preference, Turn
from models_train.errors import UserError
from models_train.modeling.base_models import ModelSource
from models_train.modeling.packing import pack
from models_train.reward_benchmarks.items import Completion, Item
from models_train.reward_models.critique_model import Critic, CritiqueModel
from models_train.reward_models.critique_scoring import critiqued_items, items_scored, others
from models_train.reward_models.critiques import (
    CONTRADICTING,
    MISSING,
    TIED,
    WITHOUT_CRITIQUE,
    WITHOUT_SCORE,
    CritiqueReader,
    Written,
    other_places,
    with_given,
    with_others,
    with_own,
)
from models_train.reward_models.model import new_head
from models_train.study.training import CritiqueRecipe
from tests.support.tiny_models import SIZES, byte_tokenizer, random_base

PROMPTS = [(Turn("user", f"Question {number}?"),) for number in range(5)]
PAIRS = [Preference(prompt, "Yes.", "No.", 1, f"p{number}", "train") for number, prompt in enumerate(PROMPTS)]


def said(text: str, status: str = "ok") -> Written:
    return Written(text, 5, "stop" if status == "ok" else "length", status)


TRIES = [
    [(said("Score: 5."), said("Score: 2."))],
    [(said("Score: 1."), said("Score: 2.")), (said("Score: 3."), said("Score: 0."))],
    [(said("Score: 2."), said("Score: 2."))],
    [(said("Good."), said("Score: 2."))],
    [(said("Score: 9", "cut"), said("Score: 2."))],
]


def test_the_filter_keeps_pairs_whose_critiques_agree_with_the_label() -> None:
    found = with_own(PAIRS, TRIES, filtered=True)
    assert found.preferences == PAIRS[:2]
    assert found.critiques == [("Score: 5.", "Score: 2."), ("Score: 3.", "Score: 0.")]
    assert found.left_out == {TIED: 1, WITHOUT_SCORE: 1, WITHOUT_CRITIQUE: 1}
    against = with_own(PAIRS[:1], [[(said("Score: 1."), said("Score: 2."))]], filtered=True)
    assert against.left_out == {CONTRADICTING: 1}


def test_without_the_filter_all_whole_critiques_are_kept() -> None:
    found = with_own(PAIRS, TRIES, filtered=False)
    assert found.preferences == PAIRS[:4] and found.left_out == {WITHOUT_CRITIQUE: 1}
    assert found.critiques[1] == ("Score: 1.", "Score: 2.")


def test_the_placebo_has_critiques_of_other_prompts_whatever_their_label() -> None:
    n = 200
    pairs = [
        Preference((Turn("user", str(number)),), "Yes.", "No.", 1, f"p{number % 50}", "train") for number in range(n)
    ]
    written = [[(said(f"{one.prompt_id} chosen"), said(f"{one.prompt_id} rejected"))] for one in pairs]
    own = with_own(pairs, written, filtered=False)
    found = with_others(own, seed=3)
    assert found.preferences == pairs
    texts = [text for both in found.critiques for text in both]
    names = [one.prompt_id for one in pairs for _ in range(2)]
    assert not any(text.startswith(f"{name} ") for text, name in zip(texts, names, strict=True))
    of_chosen = sum(both[0].endswith("chosen") for both in found.critiques) / n
    assert 0.35 < of_chosen < 0.65  # a coin: the label does not come with the critique
    assert found.critiques == with_others(own, seed=3).critiques != with_others(own, seed=4).critiques


def test_a_placebo_needs_another_prompt() -> None:
    assert other_places(["a", "b", "a"], seed=0) == [1, other_places(["a", "b", "a"], seed=0)[1], 1]
    with pytest.raises(UserError, match="at least two prompts"):
        other_places(["a", "a"], seed=0)


def test_pairs_without_a_given_critique_are_left_out() -> None:
    known = by_response([Critique(PROMPTS[0], "Yes.", "Right."), Critique(PROMPTS[0], "No.", "Wrong.")])
    found = with_given(PAIRS[:2], known)
    assert found.critiques == [("Right.", "Wrong.")] and found.left_out == {WITHOUT_CRITIQUE: 1}


@pytest.fixture(scope="module")
def model() -> CritiqueModel:
    language = random_base(LlamaConfig(**SIZES))
    found = CritiqueModel.of_language_model(language, new_head(1, 32, seed=1))
    recipe = CritiqueRecipe(learning_rates=(1e-3,), critique_tokens=8, samples=(1, 3), request="Judge it.")
    found.critic = Critic(ModelSource("tiny", "nowhere"), recipe, "float32", "tiny/critique")
    return found


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer(byte_tokenizer(), 400)


def items(texts: Sequence[tuple[str, str]]) -> list[Item]:
    return [
        Item(
            "pairs",
            "all",
            str(number),
            (Completion("chosen", True, chosen), Completion("rejected", False, rejected)),
            prompt=PROMPTS[number],
        )
        for number, (chosen, rejected) in enumerate(texts)
    ]


def test_the_reward_is_the_mean_over_whole_critiques(model: CritiqueModel, renderer: Renderer) -> None:
    given = items([("Yes.", "No.")])
    cut = Written("It is", 8, "length", "the critique was cut: it did not end within 8 tokens")
    written = [(said("Good."), cut, said("Fine.")), (cut, cut, Written.given(None))]
    rewards, critiques = critiqued_items(model, renderer, given, written)
    reader = CritiqueReader(renderer, "Judge it.")
    wanted = [
        model.rewards(pack([reader.read(PROMPTS[0], "Yes.", text).token_ids])).item() for text in ("Good.", "Fine.")
    ]
    assert rewards[0]["reward"] == pytest.approx(sum(wanted) / 2, abs=1e-6) and rewards[0]["status"] == "ok"
    assert rewards[1]["reward"] is None and rewards[1]["status"].startswith("the critique was cut")
    assert [row["status"] for row in critiques[:3]] == ["ok", cut.status, "ok"]
    assert critiques[1]["reward"] is None and critiques[1]["text"] == "It is" and critiques[1]["n_tokens_read"] is None
    assert critiques[5]["status"] == MISSING
    assert [row["critique_no"] for row in critiques] == [0, 1, 2, 0, 1, 2]


def test_critiques_are_written_and_do_not_depend_on_the_other_items(
    model: CritiqueModel, renderer: Renderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "models_train.policies.sampling.PolicyText.ends", lambda *_: (2, *range(3, 60))
    )  # a random model would almost never end
    few = items([("Yes.", "No."), ("", "Perhaps.")])
    rewards, critiques = items_scored(model, renderer, few)
    assert len(rewards) == 4 and len(critiques) == 12
    empty = next(row for row in rewards if (row["item_id"], row["completion"]) == ("1", "chosen"))
    assert empty["reward"] is None and empty["status"] == "empty response"
    more, _ = items_scored(model, renderer, [*few, *items([("a", "b"), ("c", "d"), ("A longer answer.", "e")])[2:]])
    for row, same in zip(rewards, more, strict=False):
        assert row["status"] == same["status"]
        assert row["reward"] == pytest.approx(same["reward"], abs=1e-5) if row["reward"] is not None else True
    statuses = {row["status"].split(":")[0] for row in critiques}
    assert statuses <= {"ok", "the critique was cut", "the critique is empty", "empty", "empty response"}
    assert torch.isfinite(torch.tensor([row["reward"] for row in critiques if row["reward"] is not None])).all()
    # After the writing the model computes on packs again.
    assert model.classifier.config._attn_implementation == "rewardbase_packed"


def test_others_are_of_other_items() -> None:
    given = items([("a", "b"), ("c", "d"), ("e", "f")])
    written = [(said(f"{item.item_id} {one.name}"),) for item in given for one in item.completions]
    found = others(given, written)
    owners = [item.item_id for item in given for _ in item.completions]
    assert all(one[0].text.split()[0] != owner for one, owner in zip(found, owners, strict=True))
