"""How good a checkpoint is: validation pairs won, by the best merge vector where there are five rewards, and the loss.

What is kept of it as JSON is all that the search, its rows and the optimism need: no checkpoint is asked twice.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from models_train.modeling.packing import bins, pack
from models_train.reward_models.distributed import Processes, current_processes
from models_train.reward_models.merge_vector import best_merge
from models_train.reward_models.model import RewardModel
from models_train.reward_models.objectives import Example, TokenPair, TokenRating, example_losses
from models_train.reward_models.search import ArmFailed
from models_train.reward_models.selection_bias import CheckpointRewards

_FORMAT = np.dtype("<f4")


@dataclass(frozen=True)
class Validation:
    """The validation pairs, and for regression the validation ratings; `tokens_per_pack` go through at once."""

    pairs: Sequence[TokenPair]
    ratings: Sequence[TokenRating] | None
    tokens_per_pack: int

    def __call__(self, model: RewardModel) -> dict[str, Any]:
        """Evaluate: `n_won`, `n_ties`, `n_pairs`, `loss` (None without examples of the objective), for regression
        `weights`, `n_optima` and `mean_margin`, and `rewards` of all pairs. Raises ArmFailed for rewards that are not
        finite. To be called without gradients; under torchrun by all processes together.
        """
        rewards = self._rewards(model, self.pairs)
        _refuse_not_finite(rewards)
        chosen, rejected = rewards[0::2].numpy(), rewards[1::2].numpy()
        found: dict[str, Any] = {"rewards": [_text(chosen), _text(rejected)]}
        if self.ratings is None:
            margins = chosen[:, 0].astype(np.float64) - rejected[:, 0]
            counts = {"n_won": int(np.sum(margins > 0)), "n_ties": int(np.sum(margins == 0)), "n_pairs": len(margins)}
            return found | counts | {"loss": float(example_losses(rewards, self.pairs).double().mean())}
        merge = best_merge(chosen, rejected)
        return found | vars(merge) | {"weights": list(merge.weights), "loss": self._rating_loss(model)}

    def _rating_loss(self, model: RewardModel) -> float | None:
        if not self.ratings:
            return None
        rewards = self._rewards(model, self.ratings)
        _refuse_not_finite(rewards)
        return float(example_losses(rewards, self.ratings).double().mean())

    def _rewards(self, model: RewardModel, examples: Sequence[Example]) -> torch.Tensor:
        sequences = [ids for example in examples for ids in example.sequences]
        return rewards_of(model, sequences, self.tokens_per_pack, current_processes())


def rewards_of(
    model: RewardModel, sequences: Sequence[Sequence[int]], tokens_per_pack: int, processes: Processes
) -> torch.Tensor:
    """(n_sequences, n_outputs) float32 on the CPU, in the order given.

    The processes share the packs; each takes part in as many forward passes, as sharded weights demand.
    """
    packs = bins([len(ids) for ids in sequences], tokens_per_pack)
    rewards = torch.zeros(len(sequences), len(model.attributes), device=processes.device)
    for first in range(0, len(packs), processes.n):
        own = first + processes.rank
        indices = packs[min(own, len(packs) - 1)]
        found = model.rewards(pack([sequences[index] for index in indices]))
        if own < len(packs):
            rewards[indices] = found
    return processes.total(rewards).cpu()


def checkpoint_rewards(step: int, evaluation: Mapping[str, Any]) -> CheckpointRewards:
    """The rewards that `Validation` kept of a checkpoint."""
    n_pairs = evaluation["n_pairs"]
    chosen, rejected = (_numbers(text, n_pairs) for text in evaluation["rewards"])
    return CheckpointRewards(step, chosen, rejected, evaluation["loss"])


def _text(rewards: np.ndarray) -> str:
    return base64.b64encode(rewards.astype(_FORMAT).tobytes()).decode("ascii")


def _numbers(text: str, n_pairs: int) -> np.ndarray:
    """(n_pairs,) for one output, (n_pairs, 5) for five."""
    rewards = np.frombuffer(base64.b64decode(text), dtype=_FORMAT).reshape(n_pairs, -1)
    return rewards[:, 0] if rewards.shape[1] == 1 else rewards


def _refuse_not_finite(rewards: torch.Tensor) -> None:
    wrong = int((~torch.isfinite(rewards)).any(dim=1).sum())
    if wrong:
        raise ArmFailed(
            f"{wrong} of {len(rewards)} validation responses get a reward that is NaN or infinite: the training "
            "diverged, or the base model's numbers leave the range of the precision; take a smaller rate"
        )
