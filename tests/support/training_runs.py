"""Small training runs: random pairs and ratings, a random model, and the plain training that they are compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, PreTrainedConfig, PreTrainedModel

from models_train.modeling.packing import pack
from models_train.reward_models.data import Example, TokenPair, TokenRating
from models_train.reward_models.memory import Memory, MemoryPlan, OptimizerKind
from models_train.reward_models.model import RewardModel
from models_train.reward_models.training import TrainingRun
from models_train.study.training import Precision, Recipe
from tests.support.tiny_models import SIZES, UNUSED, classifier_of

RATE = 1e-3
RECIPE = Recipe(learning_rates=(RATE,), epochs=2, global_batch=8, warmup_steps=4, checkpoint_every=5)
N_EXAMPLES = 43
"""Six steps an epoch, the last of three examples."""


def token_lists(n: int, seed: int, most: int = 40) -> list[list[int]]:
    """Sequences of 1 to `most` tokens of the tiny models."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, most + 1, (n,), generator=generator).tolist()
    return [torch.randint(3, 259, (length,), generator=generator).tolist() for length in lengths]


def pairs(n: int = N_EXAMPLES, seed: int = 0) -> list[TokenPair]:
    """Pairs of random sequences."""
    return [TokenPair(*both) for both in zip(token_lists(n, seed), token_lists(n, seed + 1000), strict=True)]


def ratings(n: int = N_EXAMPLES, seed: int = 0) -> list[TokenRating]:
    """Random sequences with random attributes, 0 to 4."""
    generator = torch.Generator().manual_seed(seed)
    attributes = torch.randint(0, 5, (n, 5), generator=generator).tolist()
    return [TokenRating(ids, tuple(map(float, one))) for ids, one in zip(token_lists(n, seed), attributes, strict=True)]


def examples_of(objective: str, n: int = N_EXAMPLES) -> Sequence[Example]:
    """Examples of an objective."""
    return pairs(n) if objective == "bradley_terry" else ratings(n)


def plan(
    optimizer: OptimizerKind = "adamw",
    *,
    precision: Precision = "float32",
    gradient_checkpointing: bool = False,
    tokens_per_pack: int = 150,
) -> MemoryPlan:
    """A plan by hand, with packs so small that a batch is several."""
    return MemoryPlan(precision, optimizer, gradient_checkpointing, tokens_per_pack, 1, Memory(0, 0, 0, 0, 0, 0))


def reward_model(objective: str = "bradley_terry", config: PreTrainedConfig | None = None) -> RewardModel:
    """A random reward model; always the same."""
    return RewardModel(classifier_of(config or LlamaConfig(**SIZES), 1 if objective == "bradley_terry" else 5))


def evaluate(model: RewardModel) -> dict[str, Any]:
    """Rewards of three pairs that are not trained on; changes the model's mode, as an evaluation may."""
    model.module.train()
    held_out = pairs(3, seed=77)
    rewards = model.rewards(pack([ids for pair in held_out for ids in pair.sequences]))[:, 0]
    margins = (rewards[0::2] - rewards[1::2]).tolist()
    return {"n_won": sum(margin > 0 for margin in margins), "n_pairs": 3, "loss": None, "margins": margins}


def training_run(
    folder: Path,
    objective: Any = "bradley_terry",
    *,
    recipe: Recipe = RECIPE,
    seed: int = 5,
    how: MemoryPlan | None = None,
    load: Callable[[], RewardModel] | None = None,
    examples: Sequence[Example] | None = None,
    evaluate: Callable[[RewardModel], Mapping[str, Any]] = evaluate,
    on_step: Callable[[Mapping[str, Any]], None] | None = None,
) -> TrainingRun:
    """A run of the random model on the random examples."""
    return TrainingRun(
        load or (lambda: reward_model(objective)),
        examples_of(objective) if examples is None else examples,
        recipe,
        objective=objective,
        learning_rate=recipe.learning_rates[0],
        seed=seed,
        folder=folder,
        plan=how or plan(),
        evaluate=evaluate,
        on_step=on_step,
    )


def weights_of(run: TrainingRun) -> dict[str, torch.Tensor]:
    """The weights that a run in memory computes with."""
    assert run._state is not None
    return {name: weight.detach().clone() for name, weight in run._state.masters.weights.items()}


def plain_loss(model: PreTrainedModel, examples: Sequence[Example]) -> torch.Tensor:
    """Mean loss of a batch by Transformers alone: padded, with attention masks, all at once."""
    token_ids = [list(ids) for example in examples for ids in example.sequences]
    longest = max(map(len, token_ids))
    rows = torch.tensor([ids + [UNUSED] * (longest - len(ids)) for ids in token_ids])
    model.config.pad_token_id = UNUSED
    logits = model(input_ids=rows, attention_mask=(rows != UNUSED).long()).logits
    if isinstance(examples[0], TokenPair):
        return torch.log1p(torch.exp(logits[1::2, 0] - logits[0::2, 0])).mean()
    wanted = torch.tensor([example.attributes for example in examples if isinstance(example, TokenRating)])
    return ((logits - wanted) ** 2).mean()


def plain_training(model: PreTrainedModel, batches: Sequence[Sequence[Example]], recipe: Recipe) -> list[list[float]]:
    """Loss and gradient norm of every step of PyTorch's own AdamW on whole padded batches; trains the model."""
    optimizer = torch.optim.AdamW(
        model.parameters(), betas=recipe.adam_betas, eps=recipe.adam_epsilon, weight_decay=0.0, foreach=False
    )
    curve = []
    for step, batch in enumerate(batches, 1):
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, step / recipe.warmup_steps)
        optimizer.zero_grad()
        loss = plain_loss(model, batch)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.max_gradient_norm or float("inf"))
        optimizer.step()
        curve.append([loss.item(), norm.item()])
    return curve
