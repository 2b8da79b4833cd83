"""Training tokens per second against TRL's RewardTrainer: same model, pairs, order, global batch and threads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from transformers import AutoModelForSequenceClassification, LlamaConfig, PreTrainedModel

from models_train.reward_models.data import DataOrder, TokenPair
from models_train.reward_models.memory import MOST_TOKENS
from models_train.reward_models.model import RewardModel
from models_train.study.training import Recipe
from tests.benchmarks.helpsteer_lengths import pairs_of_lengths
from tests.support.training_runs import plan, training_run
from tests.support.trl_runs import losses, trl_trainer

pytestmark = pytest.mark.bench

VOCABULARY, N_STEPS, GLOBAL_BATCH, SCALE = 8192, 2, 64, 0.25
RATE, SEED = 1e-4, 5
TRL_DEFAULT, TRL_LEAST_PADDING = 8, 1
"""Pairs per forward: TRL's default, and the setting with which it pads least."""
WANTED_RATIO = 2.0
RECIPE = Recipe(learning_rates=(RATE,), global_batch=GLOBAL_BATCH, warmup_steps=20)


def small_llama() -> PreTrainedModel:
    """5 million weights; always the same."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=256,
        intermediate_size=704,
        num_hidden_layers=4,
        num_attention_heads=8,
        num_key_value_heads=4,
        max_position_embeddings=4096,
        num_labels=1,
    )
    return AutoModelForSequenceClassification.from_config(config, dtype=torch.float32).eval()


def ours(folder: Path, examples: list[TokenPair]) -> tuple[float, list[float]]:
    """Seconds of all steps, and their losses."""
    run = training_run(
        folder,
        recipe=RECIPE,
        seed=SEED,
        examples=examples,
        how=plan(tokens_per_pack=MOST_TOKENS["cpu"]),
        load=lambda: RewardModel(small_llama()),
        evaluate=lambda model: {"n_won": 0, "n_pairs": 1, "loss": None},
    )
    run.advance(N_STEPS)
    return sum(row["seconds"] for row in run.steps), [row["loss"] for row in run.steps]


def by_trl(folder: Path, examples: list[TokenPair], micro_batch: int) -> tuple[float, list[float]]:
    """Seconds of TRL's training loop as it reports them, and the losses."""
    order = DataOrder(len(examples), GLOBAL_BATCH, 1, SEED)
    ordered = [examples[index] for step in range(1, N_STEPS + 1) for index in order.batch(step)]
    trainer = trl_trainer(small_llama(), ordered, RECIPE, RATE, folder, micro_batch=micro_batch)
    return trainer.train().metrics["train_runtime"], losses(trainer)


def test_tokens_per_second_of_training(
    benchmark: BenchmarkFixture, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """At least twice TRL's at its default; the same losses. The two take turns, and the best of each counts."""
    examples = pairs_of_lengths(N_STEPS * GLOBAL_BATCH, VOCABULARY, SCALE)
    lengths = np.array([len(ids) for pair in examples for ids in pair.sequences])
    seconds: dict[str, list[float]] = {"ours": [], "default": [], "least padding": []}
    curves: list[list[float]] = []

    def take_turns() -> None:
        for turn in range(2):
            folder = tmp_path / str(turn)
            results = {
                "ours": ours(folder / "ours", examples),
                "default": by_trl(folder / "trl", examples, TRL_DEFAULT),
            }
            if turn == 0:
                results["least padding"] = by_trl(folder / "trl", examples, TRL_LEAST_PADDING)
            for name, (spent, curve) in results.items():
                seconds[name].append(spent)
                curves.append(curve)

    benchmark.pedantic(take_turns, rounds=1, iterations=1)
    speed = {name: lengths.sum() / min(spent) for name, spent in seconds.items()}
    ratios = {name: speed["ours"] / speed[name] for name in ("default", "least padding")}
    benchmark.extra_info.update(tokens_per_s=speed, ratios=ratios)
    with capsys.disabled():
        print(f"\n{len(lengths)} sequences, {np.median(lengths):.0f} tokens at the median, {lengths.max()} at most;")
        print(f"{torch.get_num_threads()} threads. Real tokens per second of training: {speed['ours']:,.0f};")
        print(f"TRL at its default of 8 pairs per forward {speed['default']:,.0f}; ratio {ratios['default']:.2f};")
        print(f"TRL with one pair per forward {speed['least padding']:,.0f}; ratio {ratios['least padding']:.2f}.")
    for curve in curves:
        assert curve == pytest.approx(curves[0], abs=1e-4)
    assert ratios["default"] >= WANTED_RATIO
