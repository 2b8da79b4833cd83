"""Sampling by vLLM: the same distribution as by Transformers, and log-probabilities of plain Transformers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from transformers import GenerationConfig, LlamaConfig

from models_train.policies.sampling import Request, Sampled, TransformersEngine
from models_train.study.teachers import Policy
from tests.models_train.logprobs.test_vllm_engine import WIDE
from tests.support.data_files import REPOSITORY
from tests.support.tiny_models import VOCABULARY, random_base, sequences, write_base

pytestmark = pytest.mark.slow

TOKENS = VOCABULARY - 13
PLAIN: dict[str, Any] = {"policy_id": "p", "path": "x", "max_tokens": 24, "precision": "float32"}
SETTINGS = [PLAIN, PLAIN | {"temperature": 0.7, "top_k": 40, "top_p": 0.9, "repetition_penalty": 1.2}]
ENDS = [2, 70, 71, 72]
N = 400


def requests() -> list[Request]:
    prompts = [tuple(ids) for ids in sequences()]
    return [Request(prompts[number % len(prompts)], 10_000 + number) for number in range(N)]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("vllm")
    write_base(folder / "m", LlamaConfig(**WIDE))
    # All of it would change what is drawn.
    own = GenerationConfig(do_sample=True, temperature=0.01, top_k=1, top_p=0.1, repetition_penalty=3.0)
    own.save_pretrained(folder / "m")
    write_base(folder / "narrow", LlamaConfig(**WIDE | {"hidden_size": 16}))
    common = {"folder": str(folder / "m"), "ends": ENDS, "largest_token_id": TOKENS - 1}
    asked = [[one.token_ids, one.seed] for one in requests()]
    orders = [common | {"policy": settings, "requests": asked} for settings in SETTINGS]
    orders.append(orders[0] | {"folder": str(folder / "narrow")})
    (folder / "orders.json").write_text(json.dumps(orders))
    command = [sys.executable, "-m", "tests.support.vllm_sampling_worker"]
    done = subprocess.run(
        [*command, str(folder / "orders.json"), str(folder / "answers.json")],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads((folder / "answers.json").read_text())
    return found


def of_transformers(settings: dict[str, Any]) -> list[Sampled]:
    model = random_base(LlamaConfig(**WIDE))
    return TransformersEngine(model, Policy.model_validate(settings), ENDS, TOKENS).sampled(requests())


@pytest.mark.parametrize("place", range(len(SETTINGS)))
def test_both_engines_sample_one_distribution(place: int, answers: list[dict[str, Any]]) -> None:
    """Mean log-probability and length of a response: apart by less than 3 standard errors."""
    mine = of_transformers(SETTINGS[place])
    theirs = [Sampled(**one) for one in answers[place]["together"]]
    for measure in (lambda one: one.logprob, lambda one: len(one.token_ids), lambda one: one.is_finished):
        a, b = (np.array([float(measure(one)) for one in found]) for found in (mine, theirs))
        error = np.sqrt(a.var(ddof=1) / N + b.var(ddof=1) / N)
        assert abs(a.mean() - b.mean()) < 3 * error
    assert any(one.is_finished for one in theirs) and not all(one.is_finished for one in theirs)


@torch.no_grad()
@pytest.mark.parametrize("place", range(len(SETTINGS)))
def test_log_probabilities_are_those_of_the_model_itself(place: int, answers: list[dict[str, Any]]) -> None:
    """At temperature 1 and without cuts, whatever the sampling; the end of a response is one of its tokens."""
    model = random_base(LlamaConfig(**WIDE))
    for request, found in list(zip(requests(), answers[place]["together"], strict=True))[:60]:
        one = Sampled(**found)
        ids = torch.tensor([[*request.token_ids, *one.token_ids]])
        logits = model(input_ids=ids[:, :-1]).logits[0, len(request.token_ids) - 1 :, :TOKENS]
        plain = logits.log_softmax(-1).gather(-1, ids[0, len(request.token_ids) :, None]).sum()
        assert one.logprob == pytest.approx(float(plain), abs=1e-3)
        assert one.is_finished == (one.token_ids[-1] in ENDS) and not set(ENDS) & set(one.token_ids[:-1])
        assert one.is_finished or len(one.token_ids) == 24


def test_draws_depend_on_the_seed_alone(answers: list[dict[str, Any]]) -> None:
    for found in answers[: len(SETTINGS)]:
        together = [one["token_ids"] for one in found["together"][:40:3]]
        assert [one["token_ids"] for one in found["apart"]] == together
        assert len({tuple(one["token_ids"]) for one in found["together"]}) > N / 2


def test_a_model_that_it_cannot_run_is_refused(answers: list[dict[str, Any]]) -> None:
    refusal = answers[-1]["refusal"]
    assert refusal.startswith(("p: vLLM cannot run it: ", "p: vLLM failed: ")) and refusal.endswith(
        "; set `engine: transformers` for it"
    )
