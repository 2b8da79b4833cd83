"""What a reward model is trained for: the loss of a pack's rewards, example by example (paper, Section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
import torch.nn.functional as F

from models_train.study.settings import Objective

N_ATTRIBUTES = 5


@dataclass(frozen=True)
class TokenPair:
    """A preference as rendered for a model: token ids of prompt and response, for the chosen and the rejected one."""

    chosen: Sequence[int]
    rejected: Sequence[int]

    @property
    def sequences(self) -> tuple[Sequence[int], ...]:
        """What goes through the model, chosen first."""
        return self.chosen, self.rejected


@dataclass(frozen=True)
class TokenRating:
    """A rated response as rendered for a model, and its five attributes (helpfulness ... verbosity, 0 to 4)."""

    token_ids: Sequence[int]
    attributes: tuple[float, ...]

    @property
    def sequences(self) -> tuple[Sequence[int], ...]:
        """What goes through the model."""
        return (self.token_ids,)


Example: TypeAlias = TokenPair | TokenRating


def n_outputs(objective: Objective) -> int:
    """Width of the head: one reward, or the five attributes."""
    return 1 if objective == "bradley_terry" else N_ATTRIBUTES


def example_losses(rewards: torch.Tensor, examples: Sequence[Example]) -> torch.Tensor:
    """Loss of each example of a pack: (n_examples,) float32.

    rewards: (n_sequences, n_outputs), the sequences of the examples in order. Bradley-Terry, -log sigmoid(r_w - r_l),
    for pairs (paper, Equation 2); the squared error averaged over the five attributes for ratings (Equation 5).
    Raises ValueError where rewards and examples do not fit together.
    """
    rewards = rewards.float()
    n_sequences = sum(len(example.sequences) for example in examples)
    if all(isinstance(example, TokenPair) for example in examples):
        _fits(rewards, (n_sequences, 1))
        chosen, rejected = rewards[0::2, 0], rewards[1::2, 0]
        return -F.logsigmoid(chosen - rejected)
    ratings = [example.attributes for example in examples if isinstance(example, TokenRating)]
    if len(ratings) != len(examples):
        raise ValueError("pairs and ratings cannot be trained on together; train one objective at a time")
    _fits(rewards, (n_sequences, N_ATTRIBUTES))
    wanted = torch.tensor(ratings, dtype=torch.float32, device=rewards.device)
    return F.mse_loss(rewards, wanted, reduction="none").mean(dim=1)


def _fits(rewards: torch.Tensor, shape: tuple[int, int]) -> None:
    if tuple(rewards.shape) != shape:
        raise ValueError(f"rewards have the shape {tuple(rewards.shape)}, the examples need {shape}: check the head")
