"""The vLLM engine against plain Transformers in float64, by the same documents; all models in one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import (
    Gemma2Config,
    LlamaConfig,
    MistralConfig,
    Phi3Config,
    PreTrainedConfig,
    Qwen2Config,
)

from models_train.errors import UserError
from models_train.logprobs import vllm_engine
from tests.support.data_files import REPOSITORY
from tests.support.plain_scores import double, plain_scores, random_documents
from tests.support.tiny_models import LLAMA3_ROPE, SIZES, VOCABULARY, random_base

pytestmark = pytest.mark.slow

WIDE: dict[str, Any] = SIZES | {
    "hidden_size": 64,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 100,
}
"""vLLM's kernels want heads of at least 32."""
RUN: dict[str, Callable[[], PreTrainedConfig]] = {
    "llama": lambda: LlamaConfig(**WIDE, rope_parameters=LLAMA3_ROPE),
    "qwen2": lambda: Qwen2Config(**WIDE),
    "gemma2": lambda: Gemma2Config(
        **WIDE, head_dim=32, sliding_window=16, attn_logit_softcapping=2.0, final_logit_softcapping=1.5
    ),
    "phi3": lambda: Phi3Config(**WIDE),
    "mistral": lambda: MistralConfig(**WIDE, sliding_window=16),
}
"""Families that vLLM runs; so it does Gemma, StableLM and Nemotron, left out here for time."""
TOKENS = VOCABULARY - 13
DOCUMENTS = [*random_documents(TOKENS, (40, 2, 100, 17, 64, 3, 33)), [1], [], [1, TOKENS, 3], [1] * 101]


@pytest.fixture(scope="module")
def answers(storyteller: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What vLLM says of every model."""
    folder = tmp_path_factory.mktemp("vllm")
    orders = []
    for name, config in RUN.items():
        random_base(config()).save_pretrained(folder / name)
        orders.append({"name": name, "folder": str(folder / name), "most_tokens": 100})
    orders.append({"name": "stories", "folder": str(storyteller), "most_tokens": 512})
    both = {"engines": ["vllm", "packed"], "most_tokens": 100}
    orders += [
        both | {"name": "auto", "folder": str(folder / "llama")},
        both | {"name": "auto_stories", "folder": str(storyteller), "most_tokens": 512},
        both | {"name": "auto_broken", "folder": str(folder / "llama"), "fault": "_leave_out_rows_beyond"},
        both | {"name": "broken", "folder": str(folder / "llama"), "fault": "_leave_out_rows_beyond"},
    ]
    orders[-1]["engines"] = ["vllm"]
    for order in orders:
        order |= {"largest_token_id": TOKENS - 1, "documents": DOCUMENTS}
    (folder / "orders.json").write_text(json.dumps(orders))
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.vllm_worker", str(folder / "orders.json"), str(folder / "answers.json")],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads((folder / "answers.json").read_text())
    return found | {"stdout": done.stdout, "stderr": done.stderr}


@pytest.mark.parametrize("family", RUN)
def test_every_family_agrees_with_plain_transformers(family: str, answers: dict[str, Any]) -> None:
    """The documents beyond the seventh cannot be scored."""
    found = answers[family]
    assert "refusal" not in found, found
    plain = double(random_base(RUN[family]()))
    for ids, forth, back in zip(DOCUMENTS[:7], found["forth"], found["back"], strict=False):
        logprobs, _ = plain_scores(plain, ids, TOKENS)
        for scores in (forth, back):
            assert np.abs(np.array(scores) - logprobs).max() < 1e-4
            assert abs(sum(scores) - logprobs.sum()) < 1e-4


@pytest.mark.parametrize("family", RUN)
def test_what_cannot_be_scored_has_a_status(family: str, answers: dict[str, Any]) -> None:
    assert [status.split(":")[0] for status in answers[family]["statuses"]] == [
        *["ok"] * 7,
        "too short",
        "empty",
        "unknown token",
        "too long",
    ]


def test_it_says_what_it_is(answers: dict[str, Any]) -> None:
    assert answers["llama"]["n_vocabulary"] == TOKENS
    assert answers["llama"]["context"] == 100
    assert answers["llama"]["has_standardised"] is False


def test_a_model_that_it_cannot_run_is_refused(answers: dict[str, Any]) -> None:
    """Heads of 8: the packed engine runs it."""
    refusal = answers["stories"]["refusal"]
    assert refusal.startswith("stories: vLLM cannot run it: ")
    assert "head_dim=8" in refusal
    assert refusal.endswith("set `engine: packed`")


def test_auto_takes_vllm_where_it_is_right(answers: dict[str, Any]) -> None:
    assert answers["auto"] == {"chosen": "vllm", "said": []}


def test_auto_takes_packed_where_vllm_cannot_run_the_model(answers: dict[str, Any]) -> None:
    assert answers["auto_stories"]["chosen"] == "packed"
    (said,) = answers["auto_stories"]["said"]
    assert said.startswith("auto_stories: vLLM cannot run it: ") and "head_dim=8" in said
    assert said.endswith("; the packed engine scores instead") and "set `engine" not in said


def test_a_wrong_vllm_engine_is_refused_in_numbers(answers: dict[str, Any]) -> None:
    """Its log-sum-exp runs over rows that the tokenizer has no token for."""
    told = answers["broken"]["refusal"]
    assert told.startswith("broken: the vllm engine, float32, tried on 6 documents of the sample, differs from plain")
    assert told.endswith("0.0001 and 0.001 are allowed; nothing was scored; set `engine: packed`")
    assert answers["auto_broken"]["chosen"] == "packed"
    assert "differs from plain Transformers" in answers["auto_broken"]["said"][0]


def test_it_is_quiet(answers: dict[str, Any]) -> None:
    assert answers["stdout"] == ""
    assert "WARNING" not in answers["stderr"]
    assert "Traceback" not in answers["stderr"]


def test_a_machine_without_vllm_is_named_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    source = vllm_engine.ModelSource("a model", str(tmp_path))
    with pytest.raises(UserError, match=r"install it \(`make vllm`\), or set `engine: packed`"):
        vllm_engine.load_vllm_engine(source, 511, vllm_engine.torch.float32, 512, 1024)
