"""The packed engine against plain Transformers in float64, document by document."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    CohereConfig,
    Gemma2Config,
    GraniteConfig,
    LlamaConfig,
    MambaConfig,
    PhiConfig,
    PreTrainedConfig,
)

from models_train.errors import UserError
from models_train.logprobs.engine import NOT_FINITE, score
from models_train.logprobs.packed_engine import PackedEngine, model_on_device, packed_engine
from models_train.modeling.base_models import ModelSource
from tests.support.plain_scores import double, plain_scores, random_documents, requests
from tests.support.tiny_models import FAMILIES, SIZES, VOCABULARY, random_base

WITHOUT_GROUPS = SIZES | {"num_key_value_heads": 4}
HEADS: dict[str, Callable[[], PreTrainedConfig]] = {
    "gemma2_capped_logits": lambda: Gemma2Config(**SIZES, head_dim=16, final_logit_softcapping=1.5),
    "llama_tied": lambda: LlamaConfig(**SIZES, tie_word_embeddings=True),
    "cohere_scaled": lambda: CohereConfig(**SIZES, logit_scale=0.3),
    "granite_scaled": lambda: GraniteConfig(**SIZES, logits_scaling=2.5),
    "phi_bias": lambda: PhiConfig(**WITHOUT_GROUPS),
}
"""What families do to their logits."""
TOKENS = VOCABULARY - 13
"""Rows that the tokenizer of the tiny models has tokens for."""


def engine_of(config: PreTrainedConfig, tokens_per_pack: int = 120) -> PackedEngine:
    return packed_engine("tiny", random_base(config), TOKENS - 1, tokens_per_pack, True)


@pytest.mark.parametrize("family", [*FAMILIES, *HEADS])
def test_every_family_agrees_with_plain_transformers(family: str) -> None:
    engine = engine_of((FAMILIES | HEADS)[family]())
    documents = random_documents(TOKENS)
    plain = double(random_base((FAMILIES | HEADS)[family]()))
    for found, ids in zip(score(engine, requests(documents)), documents, strict=True):
        logprobs, standardised = plain_scores(plain, ids, TOKENS)
        assert found.status == "ok"
        assert found.standardised is not None
        assert np.abs(found.logprobs - logprobs).max() < 1e-4
        assert abs(float(found.logprobs.sum(dtype=np.float64) - logprobs.sum())) < 1e-4
        assert np.abs(found.standardised - standardised).max() < 1e-3


def test_rows_without_a_token_stay_out() -> None:
    """13 of the 272 rows are padding: with them the probabilities would be other ones."""
    engine = engine_of(LlamaConfig(**SIZES))
    (found,) = score(engine, requests([random_documents(TOKENS)[0]]))
    with_padding, _ = plain_scores(double(random_base(LlamaConfig(**SIZES))), random_documents(TOKENS)[0], VOCABULARY)
    assert engine.n_vocabulary == TOKENS
    assert np.abs(found.logprobs - with_padding).min() > 1e-4


def test_neither_neighbours_nor_order_nor_size_of_packs_matter() -> None:
    documents = random_documents(TOKENS, (40, 2, 100, 17, 64, 3, 33, 33, 90))
    whole = score(engine_of(LlamaConfig(**SIZES), 10_000), requests(documents))
    for tokens_per_pack in (1, 50, 120):
        found = score(engine_of(LlamaConfig(**SIZES), tokens_per_pack), requests(documents)[::-1])[::-1]
        for one, other in zip(whole, found, strict=True):
            assert one.status == other.status and one.logprobs.shape == other.logprobs.shape
            assert np.abs(one.logprobs - other.logprobs).max() < 1e-5
    (alone,) = score(engine_of(LlamaConfig(**SIZES)), requests(documents)[2:3])
    assert np.abs(alone.logprobs - whole[2].logprobs).max() < 1e-5


def test_the_number_of_threads_changes_no_digit() -> None:
    """Each pack is worked on by one thread; what was set for the rest of the program stays."""
    engine = engine_of(LlamaConfig(**SIZES))
    documents = random_documents(TOKENS, (40, 2, 100, 17, 64, 3, 33, 33, 90))
    before = torch.get_num_threads()
    found = []
    try:
        for n_threads in (1, 2, 3):
            torch.set_num_threads(n_threads)
            found.append(np.concatenate([one.logprobs for one in score(engine, requests(documents))]))
            assert torch.get_num_threads() == n_threads
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])


def test_what_cannot_be_scored_has_a_status_in_its_place() -> None:
    long = random_documents(TOKENS, (513,))[0]
    documents = [[1], [], [1, 5], [1, 270, 4], [1, -1], long, [1, 6]]
    found = score(engine_of(LlamaConfig(**SIZES)), requests(documents))
    assert [one.status.split(":")[0] for one in found] == [
        "too short",
        "empty",
        "ok",
        "unknown token",
        "unknown token",
        "too long",
        "ok",
    ]
    assert [len(one.logprobs) for one in found] == [0, 0, 1, 0, 0, 0, 1]
    assert found[3].status == f"unknown token: 270 is outside the model's vocabulary of {TOKENS}"


def test_a_model_that_overflows_for_one_document_fails_for_that_one() -> None:
    engine = engine_of(LlamaConfig(**SIZES))
    with torch.no_grad():
        engine.model.get_input_embeddings().weight[77] = float("inf")
    found = score(engine, requests([[1, 5, 6], [1, 77, 6], [1, 8, 9]]))
    assert [one.status for one in found] == ["ok", NOT_FINITE, "ok"]


def test_a_pack_that_does_not_fit_is_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = engine_of(LlamaConfig(**SIZES))
    documents = random_documents(TOKENS, (40, 2, 100, 17, 64, 3, 33))
    whole = score(engine, requests(documents))
    honest = PackedEngine.statistics

    def small(self: PackedEngine, asked: list[Any]) -> Any:
        if sum(len(one.token_ids) for one in asked) > 70:
            raise torch.OutOfMemoryError("no more memory")
        return honest(self, asked)

    monkeypatch.setattr(PackedEngine, "statistics", small)
    found = score(engine, requests(documents))
    assert found[2].status == "too large: 100 tokens do not fit in the device's memory"
    for place in (0, 1, 3, 4, 5, 6):
        assert np.abs(found[place].logprobs - whole[place].logprobs).max() < 1e-5


def test_models_that_packs_cannot_go_through_are_refused() -> None:
    config = MambaConfig(vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=1, state_size=4)
    with pytest.raises(UserError, match=r"tiny: the packed engine cannot run it: .*set `engine: vllm`"):
        engine_of(config)


def test_half_precision_stays_near() -> None:
    model = random_base(LlamaConfig(**SIZES)).bfloat16()
    engine = packed_engine("tiny", model, TOKENS - 1, 120, True)
    assert engine.dtype == "bfloat16"
    documents = random_documents(TOKENS)
    plain = double(random_base(LlamaConfig(**SIZES)))
    for found, ids in zip(score(engine, requests(documents)), documents, strict=True):
        logprobs, _ = plain_scores(plain, ids, TOKENS)
        assert abs(float(found.logprobs.mean() - logprobs.mean())) < 0.3


def test_a_trained_model_from_its_folder(storyteller: Path) -> None:
    source = ModelSource("stories", str(storyteller))
    engine = packed_engine("stories", model_on_device(source, torch.float32), 511, 1024, True)
    assert (engine.dtype, engine.context, engine.n_vocabulary, engine.name) == ("float32", 512, 512, "packed")
    documents = random_documents(512, (512, 300, 9))
    plain = double(AutoModelForCausalLM.from_pretrained(source.place, dtype=torch.float32))
    for found, ids in zip(score(engine, requests(documents)), documents, strict=True):
        logprobs, standardised = plain_scores(plain, ids, 512)
        assert found.standardised is not None
        assert np.abs(found.logprobs - logprobs).max() < 1e-4
        assert abs(float(found.logprobs.mean(dtype=np.float64) - logprobs.mean())) < 1e-5
        assert np.abs(found.standardised - standardised).max() < 1e-3
