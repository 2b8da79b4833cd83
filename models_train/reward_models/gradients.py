"""The gradient of a global batch, pack by pack: every example weighs the same, whatever pack or process it is in."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from models_train.modeling.packing import pack
from models_train.reward_models.batches import TrainingPack, n_tokens, training_packs
from models_train.reward_models.distributed import Processes, shares
from models_train.reward_models.model import RewardModel
from models_train.reward_models.objectives import Example, example_losses


def add_gradient(
    model: RewardModel, examples: Sequence[Example], tokens_per_pack: int, processes: Processes
) -> torch.Tensor:
    """Add the gradient of the mean loss of a global batch to the weights'; returns that loss, a float64 scalar.

    examples: all of the batch, in every process. Each works on its share of the packs.
    """
    total = torch.zeros((), dtype=torch.float64, device=processes.device)
    for one in _own_packs(examples, tokens_per_pack, processes):
        total += _backward(model, one, len(examples), processes.n)
    return processes.total(total)


def _own_packs(examples: Sequence[Example], tokens_per_pack: int, processes: Processes) -> list[TrainingPack]:
    """The packs that this process works on; all have as many, because sharded weights are gathered together.

    A process that would have fewer gets packs without examples, of one token: they add nothing.
    """
    if processes.n == 1:
        return training_packs(examples, tokens_per_pack)
    n_all = sum(n_tokens(example) for example in examples)
    packs = training_packs(examples, min(tokens_per_pack, -(-n_all // processes.n)))
    given = shares([len(one.pack.token_ids) for one in packs], processes.n)
    own = [packs[index] for index in given[processes.rank]]
    n_empty = max(len(indices) for indices in given) - len(own)
    return own + [TrainingPack((), pack([packs[0].pack.token_ids[:1].tolist()]))] * n_empty


def _backward(model: RewardModel, one: TrainingPack, n_examples: int, n_processes: int) -> torch.Tensor:
    """Add the gradient of a pack's part of the mean loss of the batch; returns that part."""
    rewards = model.rewards(one.pack)
    if not one.examples:
        (rewards.sum() * 0.0).backward()
        return torch.zeros((), device=rewards.device)
    loss = example_losses(rewards, one.examples).sum() / n_examples
    # FSDP2 averages gradients over the processes; the loss of a batch is a sum over them.
    (loss * n_processes).backward()
    return loss.detach()
