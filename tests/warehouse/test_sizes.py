"""Sizes as people say them, and the memory that training needs, compared with the plan of a run."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from transformers import Gemma2Config, LlamaConfig, PreTrainedConfig, Qwen2Config

from models_train.reward_models import memory
from models_train.study.training import Recipe
from warehouse import training_memory
from warehouse.contracts.sizes import is_within, named_size

SEED = Path(__file__).resolve().parents[2] / "dbt" / "seeds" / "table_3_models.csv"


@pytest.mark.parametrize(
    ("name", "params_b", "said"),
    [
        ("Llama-3.1-8B-Instruct", 8.03, 8),
        ("Llama-3.2-1B", 1.24, 1),
        ("Falcon3-1B-Instruct", 1.67, 1),
        ("Qwen2.5-0.5B", 0.49, 0.5),
        ("stablelm-2-1_6b-chat", 1.64, 1.6),
        ("internlm2_5-7b", 7.74, 7),
        ("SmolLM2-360M", 0.362, 0.36),
        ("Llama-3-70B", 70.6, 70),
        ("Qwen3-30B-A3B", 30.5, 30),
        ("OLMoE-1B-7B", 6.9, 7),
        ("Phi-3-small-8k-instruct", 7.38, None),
        ("distilled-from-70B", 8.03, None),
        ("Mixtral-8x7B", 46.7, None),
        ("mine", 8.03, None),
    ],
)
def test_the_size_in_a_name(name: str, params_b: float, said: float | None) -> None:
    assert named_size(name, params_b) == said


@pytest.mark.parametrize(
    ("limit", "within", "beyond"),
    [
        (0.5, ["Qwen2.5-0.5B-Instruct", "Qwen1.5-0.5B-Chat"], ["Llama-3.2-1B-Instruct"]),
        (1, ["Llama-3.2-1B-Instruct", "Falcon3-1B-Instruct"], ["Qwen2.5-1.5B-Instruct", "stablelm-2-1_6b-chat"]),
        (1.5, ["Qwen2.5-1.5B-Instruct"], ["stablelm-2-1_6b-chat", "gemma-2-2b-it"]),
        (3, ["Llama-3.2-3B-Instruct", "Qwen2.5-3B-Instruct"], ["Phi-3.5-mini-instruct", "Qwen1.5-4B-Chat"]),
        (7, ["Qwen2.5-7B-Instruct", "gemma-7b-it", "Phi-3-small-8k-instruct"], ["Llama-3.1-8B-Instruct"]),
        (8, ["Llama-3.1-8B-Instruct", "Meta-Llama-3-8B-Instruct", "Llama-3.1-Tulu-3-8B"], ["gemma-2-9b-it"]),
        (9, ["gemma-2-9b-it", "Yi-1.5-9B-Chat"], ["Falcon3-10B-Instruct"]),
        (8.03, ["Llama-3.1-8B-Instruct"], ["gemma-2-9b-it"]),
    ],
)
def test_a_limit_holds_its_class(limit: float, within: list[str], beyond: list[str]) -> None:
    with SEED.open() as file:
        sizes = {row["model_id"]: float(row["params_b"]) for row in csv.DictReader(file)}
    assert [name for name in within if not is_within(name, sizes[name], limit)] == []
    assert [name for name in beyond if is_within(name, sizes[name], limit)] == []


def test_without_a_size_in_the_name_parameters_are_rounded_as_the_limit_is_written() -> None:
    assert [is_within("mine", size, 8) for size in (7.9, 8.03, 8.49, 8.5)] == [True, True, True, False]
    assert [is_within("mine", size, 1.5) for size in (1.54, 1.56)] == [True, False]
    assert [is_within("mine", size, 0.5) for size in (0.54, 0.56)] == [True, False]
    assert is_within("mine", 13.0, 13) and not is_within("mine", float("inf"), 70)


SHAPES: dict[str, tuple[float, PreTrainedConfig]] = {
    "Llama-3.2": (1.24, LlamaConfig(
        vocab_size=128256, hidden_size=2048, intermediate_size=8192, num_hidden_layers=16, num_attention_heads=32,
        num_key_value_heads=8)),
    "Qwen2.5": (0.49, Qwen2Config(
        vocab_size=151936, hidden_size=896, intermediate_size=4864, num_hidden_layers=24, num_attention_heads=14,
        num_key_value_heads=2)),
    "Llama-3.1": (8.03, LlamaConfig(
        vocab_size=128256, hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32,
        num_key_value_heads=8)),
    "Gemma-2": (2.61, Gemma2Config(
        vocab_size=256000, hidden_size=2304, intermediate_size=9216, num_hidden_layers=26, num_attention_heads=8,
        num_key_value_heads=4, head_dim=256)),
}  # fmt: skip
"""Family -> billions of parameters, and the published shape."""
KINDS: tuple[memory.OptimizerKind, ...] = ("adamw", "adamw_8bit", "adamw_offloaded")


@pytest.mark.parametrize("family", SHAPES)
def test_the_estimate_of_memory_is_near_the_plan_of_a_run(family: str) -> None:
    params_b, config = SHAPES[family]
    shape = memory.model_shape(config, 1, torch.bfloat16)
    tokens = training_memory.TOKENS
    assert tokens == 2 * Recipe(learning_rates=(1e-5,)).max_tokens
    for kind, way in zip(KINDS, training_memory.ways_to_train(params_b, family), strict=True):
        planned = memory.memory_of(shape, "bfloat16", kind, True, 1, tokens, tokens // 2)
        needed = (planned.device + memory.CONTEXT_BYTES) / (1 - memory.MARGIN) / memory.GIB
        assert 0.97 < way.device_gib / needed < 1.15, way
        assert way.host_gib * (1 - memory.MARGIN) * memory.GIB == pytest.approx(planned.host, rel=0.1)
