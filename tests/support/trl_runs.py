"""TRL's RewardTrainer on pairs in a given order, as its users call it; the peer of our training."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from datasets import Dataset
from transformers import PreTrainedModel
from trl import RewardConfig, RewardTrainer

from models_train.reward_models.data import TokenPair
from models_train.study.training import Recipe
from tests.support.tiny_models import byte_tokenizer


def trl_trainer(
    model: PreTrainedModel,
    ordered: Sequence[TokenPair],
    recipe: Recipe,
    learning_rate: float,
    folder: Path,
    *,
    micro_batch: int,
    **settings: Any,
) -> RewardTrainer:
    """One pass over the pairs as they stand: AdamW and warm-up as in the recipe, padded micro-batches."""
    arguments = RewardConfig(
        output_dir=str(folder),
        num_train_epochs=1,
        per_device_train_batch_size=micro_batch,
        gradient_accumulation_steps=recipe.global_batch // micro_batch,
        train_sampling_strategy="sequential",
        max_length=None,
        max_grad_norm=recipe.max_gradient_norm or 0.0,
        logging_steps=1,
        logging_strategy="steps",
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        **{"bf16": False, "gradient_checkpointing": False, "use_cpu": True} | settings,
    )
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=learning_rate, betas=recipe.adam_betas, eps=recipe.adam_epsilon, weight_decay=0.0
    )
    warm_up = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / recipe.warmup_steps))
    columns = {
        "chosen_ids": [list(pair.chosen) for pair in ordered],
        "rejected_ids": [list(pair.rejected) for pair in ordered],
    }
    return RewardTrainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_dict(columns),
        processing_class=byte_tokenizer(pad_token="<unk>"),
        optimizers=(optimizer, warm_up),
    )


def losses(trainer: RewardTrainer) -> list[float]:
    """Loss of every step."""
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def gradient_norms(trainer: RewardTrainer) -> list[float]:
    """Gradient norm of every step, before clipping."""
    return [float(entry["grad_norm"]) for entry in trainer.state.log_history if "grad_norm" in entry]
