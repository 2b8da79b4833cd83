"""The trial of an engine beside plain Transformers: sound engines pass, planted faults are refused in numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, Gemma2Config, LlamaConfig, MistralConfig, PreTrainedModel

from models_train.errors import UserError
from models_train.logprobs import packed_engine as packed_module
from models_train.logprobs.engine import Request, TokenScores, failed
from models_train.logprobs.head import Head
from models_train.logprobs.packed_engine import PackedEngine, packed_engine
from models_train.logprobs.trial import MOST_DOCUMENTS, Trial, plain_trial, refuse_unlike, trial_requests
from models_train.modeling import packed_attention
from tests.support.plain_scores import double, plain_scores, random_documents, requests
from tests.support.tiny_models import SIZES, VOCABULARY, random_base

DOCUMENTS = random_documents(512, (300, 40, 2, 120, 511, 64, 90, 200))


def stories(folder: Path, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()


def packed_of(model: PreTrainedModel, n_vocabulary: int = 512) -> PackedEngine:
    return packed_engine("stories", model, n_vocabulary - 1, 2048, False)


def trial_of(model: PreTrainedModel, n_vocabulary: int = 512) -> Trial:
    return plain_trial("stories", model, requests(DOCUMENTS), n_vocabulary)


@dataclass(frozen=True)
class Broken:
    """The packed engine with a fault. change: of its inputs or of its scores."""

    sound: PackedEngine
    change: Callable[[Request, PackedEngine], TokenScores]
    name: str = "packed"
    context: None = None

    @property
    def dtype(self) -> str:
        return self.sound.dtype

    @property
    def n_vocabulary(self) -> int:
        return self.sound.n_vocabulary

    def scored(self, asked: Sequence[Request]) -> Iterator[tuple[int, TokenScores]]:
        for place, request in enumerate(asked):
            yield place, self.change(request, self.sound)


def one(engine: PackedEngine, ids: np.ndarray) -> np.ndarray:
    ((_, found),) = engine.scored([Request("", ids)])
    return found.logprobs


def second_bos(request: Request, engine: PackedEngine) -> TokenScores:
    return TokenScores(one(engine, np.concatenate([[1], request.token_ids]))[1:], None)


def rounded(request: Request, engine: PackedEngine) -> TokenScores:
    values = torch.from_numpy(one(engine, request.token_ids)).bfloat16().float().numpy()
    return TokenScores(values, None)


@torch.inference_mode()
def bf16_sums(request: Request, engine: PackedEngine) -> TokenScores:
    """Log-sum-exp and difference in bfloat16."""
    ids = torch.from_numpy(request.token_ids)
    logits = engine.model.lm_head(hidden_of(engine, ids)).bfloat16()
    found = logits.gather(-1, ids[1:, None])[:, 0] - logits.logsumexp(-1)
    return TokenScores(found.float().numpy(), None)


@torch.inference_mode()
def bf16_logits(request: Request, engine: PackedEngine) -> TokenScores:
    """A sum over the vocabulary that is carried on in bfloat16, term by term."""
    ids = torch.from_numpy(request.token_ids)
    logits = engine.model.lm_head(hidden_of(engine, ids)).bfloat16()
    total = torch.zeros(len(logits), dtype=torch.bfloat16)
    for column in logits.exp().T:
        total = total + column
    return TokenScores((logits.gather(-1, ids[1:, None])[:, 0].float() - total.float().log()).numpy(), None)


def hidden_of(engine: PackedEngine, ids: torch.Tensor) -> torch.Tensor:
    pack = packed_module.packed_inputs(packed_module._pack([ids[:-1].numpy()]))
    return engine.model.base_model(**pack).last_hidden_state[0]


def shifted(request: Request, engine: PackedEngine) -> TokenScores:
    return TokenScores(np.roll(one(engine, request.token_ids), 1), None)


def one_token_off(request: Request, engine: PackedEngine) -> TokenScores:
    """Only the last token of a document is wrong."""
    found = one(engine, request.token_ids).copy()
    found[-1] -= 0.01
    return TokenScores(found, None)


def not_a_number(request: Request, engine: PackedEngine) -> TokenScores:
    return TokenScores(np.full(len(request.token_ids) - 1, np.nan, np.float32), None)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_sound_engine_passes(storyteller: Path, dtype: torch.dtype) -> None:
    model = stories(storyteller, dtype)
    trial = trial_of(model)
    refuse_unlike("stories", packed_of(model), trial)


def test_plain_transformers_is_what_it_is_compared_with(storyteller: Path) -> None:
    trial = trial_of(stories(storyteller))
    plain = double(stories(storyteller))
    lengths = [len(request.token_ids) for request in trial.requests]
    assert lengths == sorted(lengths) and len(lengths) == MOST_DOCUMENTS
    assert (lengths[0], lengths[-1]) == (2, 511)
    for request, found in zip(trial.requests, trial.plain, strict=True):
        assert np.abs(found - plain_scores(plain, request.token_ids.tolist(), 512)[0]).max() < 1e-4


FAULTS = [second_bos, rounded, bf16_sums, bf16_logits, shifted, one_token_off]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_refused_in_numbers(storyteller: Path, fault: Any) -> None:
    model = stories(storyteller)
    trial = trial_of(model)
    engine = Broken(packed_of(model), fault)
    told = (
        r"^stories: the packed engine, float32, tried on 6 documents of the sample, differs from plain Transformers on "
        r"the same device by [\d.e-]+ nats per token in the mean and [\d.e-]+ at most, where 0\.0001 and 0\.001 are "
        r"allowed; nothing was scored; set `engine: vllm`$"
    )
    with pytest.raises(UserError, match=told):
        refuse_unlike("stories", engine, trial)


@pytest.mark.parametrize("fault", [rounded, bf16_sums, bf16_logits, shifted])
def test_sums_in_half_precision_are_refused_in_half_precision_too(storyteller: Path, fault: Any) -> None:
    """There, the rounding of the weights hides that of the sums: their missing digits do not."""
    model = stories(storyteller, torch.bfloat16)
    trial = trial_of(model)
    with pytest.raises(UserError, match=r"(rounded to bfloat16|differs from plain).*`precision: float32` or `engine:"):
        refuse_unlike("stories", Broken(packed_of(model), fault), trial)


def one_sequence(self: PackedEngine, asked: Sequence[Request]) -> Any:
    """All documents of a pack as one: each sees those before it."""
    ids = np.concatenate([request.token_ids[:-1] for request in asked])
    inputs = packed_module.packed_inputs(packed_module._pack([ids]))
    targets = torch.from_numpy(np.concatenate([request.token_ids[1:] for request in asked]))
    with torch.inference_mode():
        hidden = self.model.base_model(**inputs).last_hidden_state[0]
        return self.head.statistics(hidden, targets, False)


def documents_that_see_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PackedEngine, "statistics", one_sequence)


def a_dropped_causal_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = torch.nn.functional.scaled_dot_product_attention

    def sees_all(*arguments: Any, **settings: Any) -> torch.Tensor:
        return honest(*arguments, **settings | {"is_causal": False})

    monkeypatch.setattr(packed_attention.F, "scaled_dot_product_attention", sees_all)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("plant", [documents_that_see_each_other, a_dropped_causal_mask])
def test_tokens_that_see_more_than_they_may_are_refused(
    storyteller: Path, monkeypatch: pytest.MonkeyPatch, plant: Callable[[pytest.MonkeyPatch], None], dtype: torch.dtype
) -> None:
    model = stories(storyteller, dtype)
    trial = trial_of(model)
    engine = packed_of(model)
    plant(monkeypatch)
    with pytest.raises(UserError, match="differs from plain Transformers on the same device by"):
        refuse_unlike("stories", engine, trial)


@pytest.mark.parametrize(
    "config",
    [
        MistralConfig(**SIZES, sliding_window=5),
        Gemma2Config(**SIZES, head_dim=16, sliding_window=6, query_pre_attn_scalar=16, attn_logit_softcapping=2.0),
    ],
    ids=["mistral", "gemma2"],
)
def test_a_dropped_window_is_refused(config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_base(config)
    asked = requests(random_documents(VOCABULARY, (60, 9, 30)))
    trial = plain_trial("windows", model, asked, VOCABULARY)
    engine = packed_engine("windows", model, VOCABULARY - 1, 2048, False)
    refuse_unlike("windows", engine, trial)
    monkeypatch.setattr(packed_attention, "_band", lambda length, window, like: torch.ones(length, length).tril() > 0)
    with pytest.raises(UserError, match="differs from plain Transformers"):
        refuse_unlike("windows", engine, trial)


def test_a_head_that_changes_logits_in_an_unknown_way_is_refused() -> None:
    model = random_base(LlamaConfig(**SIZES))
    trial = plain_trial("tiny", model, requests(random_documents(VOCABULARY, (60, 9, 30))), VOCABULARY)
    sound = packed_engine("tiny", model, VOCABULARY - 1, 2048, False)
    refuse_unlike("tiny", sound, trial)
    for head in (Head(sound.head.weight, None, 1.5), replace(sound.head, softcap=2.0)):
        with pytest.raises(UserError, match=r"^tiny: the packed engine, float32, tried on 3 documents"):
            refuse_unlike("tiny", replace(sound, head=head), trial)


def test_scores_that_are_missing_or_no_numbers_are_refused(storyteller: Path) -> None:
    model = stories(storyteller)
    trial = trial_of(model)
    with pytest.raises(UserError, match=r"cannot score a document that plain Transformers can \(not finite: .*\); set"):
        refuse_unlike("stories", Broken(packed_of(model), not_a_number), trial)
    too_large = Broken(packed_of(model), lambda *_: failed("too large: 9 tokens do not fit in the device's memory"))
    refuse_unlike("stories", too_large, trial)


def test_a_document_without_numbers_in_plain_transformers_says_nothing(storyteller: Path) -> None:
    model = stories(storyteller)
    trial = trial_of(model)
    without = replace(trial, plain=[np.full_like(plain, np.nan) for plain in trial.plain])
    refuse_unlike("stories", Broken(packed_of(model), not_a_number), without)


def test_what_cannot_be_scored_takes_no_part() -> None:
    asked = requests([[1], [], [1, 9, 8], [1, 300], [1] * 50])
    assert [len(one.token_ids) for one in trial_requests(asked, 272, 40)] == [3]
    (made_up,) = trial_requests(asked[:2], 5, None)
    assert made_up.token_ids.max() < 5 and len(made_up.token_ids) == 8


def test_a_large_vocabulary_makes_documents_shorter() -> None:
    """Its matrix of logits would be larger than the model."""
    (found,) = trial_requests(requests([[1, *range(5000)]]), 262_144, None)
    assert len(found.token_ids) == 1024


def test_a_model_that_transformers_cannot_run_is_named(storyteller: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = stories(storyteller)

    def fails(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no kernel for this device.\nmore")

    monkeypatch.setattr(type(model), "forward", fails)
    with pytest.raises(UserError, match=r"^stories: Transformers cannot run it: no kernel for this device; take anoth"):
        trial_of(model)
