"""Validation: accuracy of a checkpoint, choice among the checkpoints of a search, and bias of that choice.

A checkpoint is measured by the validation pairs that it wins (for regression by the best merge vector) and by its loss;
the measurement is kept as JSON, and no checkpoint is evaluated twice.

The choice. A training run is judged by its best checkpoint (most validation pairs won, then lowest validation loss,
then earliest), a rate by the mean of that over its seeds; a seed that failed counts as winning nothing, so that a rate
which diverges now and then is not preferred for its lucky seeds. The rate with the highest mean is chosen (then the
lower mean loss, then the smaller rate), and its best checkpoint over all seeds.

Selection bias (optimism; definitions, Section 9). Of random halves of the validation prompts one chooses, as the search
does, and the other measures. A half flatters more than all pairs do: the optimism of the search itself is smaller. The
same halves show what choosing the rate is worth: every rate by itself is measured on the other half, too.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import numpy as np
import torch

from models_train.errors import UserError
from models_train.modeling.packing import bins, pack
from models_train.reward_models.data import Example, TokenPair, TokenRating
from models_train.reward_models.distributed import Processes, current_processes
from models_train.reward_models.merge_vector import best_merge, merged_margins
from models_train.reward_models.model import RewardModel, example_losses

SCALAR_SPLITS = 200
"""Splits for Bradley-Terry."""
MERGED_SPLITS = 10
"""Splits for regression. A merge search on half of 519 pairs takes about 0.07 s of one core, and a split makes two for
every checkpoint: with 310 checkpoints (the paper's grid of ten rates) a split takes 45 s of one core."""
_FORMAT = np.dtype("<f4")


class TrainingFailed(UserError):
    """A training run cannot go on, such as after a loss that is not finite; the search goes on without it."""


@dataclass(frozen=True)
class Evaluation:
    """A checkpoint on the validation pairs. loss: of the objective on its validation examples, None without any."""

    step: int
    n_won: int
    n_pairs: int
    loss: float | None

    @property
    def accuracy(self) -> float:
        """Share of pairs won, 0 to 1."""
        return self.n_won / self.n_pairs

    @property
    def order(self) -> tuple[int, float, int]:
        """Smallest for the best: most pairs won, then lowest loss, then earliest."""
        return -self.n_won, float("inf") if self.loss is None else self.loss, self.step


@dataclass(frozen=True)
class Choice:
    """The checkpoint chosen."""

    learning_rate: float
    seed: int
    evaluation: Evaluation


Evaluations = Mapping[tuple[float, int], Sequence[Evaluation]]
"""Evaluations of every training run (rate, seed); none for a failed run."""


@dataclass(frozen=True)
class CheckpointRewards:
    """Rewards of the validation pairs at a checkpoint.

    chosen, rejected: (n_pairs,) for Bradley-Terry, (n_pairs, 5) for regression. loss: on the objective's validation
    examples; breaks ties for regression, where the pairs have none of their own.
    """

    step: int
    chosen: np.ndarray
    rejected: np.ndarray
    loss: float | None = None


@dataclass(frozen=True)
class Optimism:
    """Mean accuracies, 0 to 1, over both directions of `n_splits` splits.

    accuracy_mean_rate: on the other half, mean over the rates; accuracy_best_rate: of the rate that is best there.
    """

    accuracy_choosing_half: float
    accuracy_other_half: float
    accuracy_mean_rate: float
    accuracy_best_rate: float
    n_splits: int

    @property
    def points(self) -> float:
        """Bias of the accuracy by the choice, in percentage points."""
        return 100 * (self.accuracy_choosing_half - self.accuracy_other_half)


Checkpoints = Mapping[tuple[float, int], Sequence[CheckpointRewards]]
"""Checkpoints by training run (rate, seed), for finished rates; those of a failed seed are empty."""


@dataclass(frozen=True)
class Validation:
    """The validation pairs, and for regression the validation ratings; `tokens_per_pack` go through at once."""

    pairs: Sequence[TokenPair]
    ratings: Sequence[TokenRating] | None
    tokens_per_pack: int

    def __call__(self, model: RewardModel) -> dict[str, Any]:
        """Evaluate: `n_won`, `n_ties`, `n_pairs`, `loss` (None without examples of the objective), for regression
        `weights`, `n_optima` and `mean_margin`, and `rewards` of all pairs. To be called without gradients; under
        torchrun by all processes together. Raises TrainingFailed for rewards that are not finite.
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


def choose(evaluations: Evaluations) -> Choice | None:
    """The best checkpoint of the rate with the highest mean; None where no run has an evaluation."""
    evaluated = {rate for (rate, _), found in evaluations.items() if found}
    rate = next((rate for rate in rank(evaluations) if rate in evaluated), None)
    if rate is None:
        return None
    of_rate = {seed: found for (other, seed), found in evaluations.items() if other == rate and found}
    best = {seed: min(found, key=attrgetter("order")) for seed, found in of_rate.items()}
    seed = min(best, key=lambda seed: (best[seed].order, seed))
    return Choice(rate, seed, best[seed])


def rank(evaluations: Evaluations, *, by_loss: bool = False) -> list[float]:
    """The rates, best first: by pairs won, or by the lowest loss where every evaluation has one.

    Wins are summed over seeds, not averaged: every rate has all seeds, and sums of whole numbers are exact.
    """
    every = [evaluation for found in evaluations.values() for evaluation in found]
    by_loss = by_loss and all(evaluation.loss is not None for evaluation in every)
    standing: dict[float, tuple[float, ...]] = {}
    for (rate, _), found in evaluations.items():
        n_lost, loss, _ = min((one.order for one in found), default=(0, float("inf"), 0))
        lowest = min((evaluation.order[1] for evaluation in found), default=float("inf"))
        own = (lowest, n_lost) if by_loss else (n_lost, loss)
        before = standing.get(rate, (0, 0))
        standing[rate] = (before[0] + own[0], before[1] + own[1])
    return sorted(standing, key=lambda rate: (*standing[rate], rate))


def measure_optimism(
    checkpoints: Checkpoints,
    prompt_ids: Sequence[str],
    *,
    n_splits: int | None = None,
    seed: int = 0,
    n_threads: int = 1,
) -> Optimism | None:
    """Choose on one half, measure on the other; prompt_ids: (n_pairs,), the prompt of every pair.

    None where there is nothing to choose (no checkpoint), or to split (fewer than two prompts). n_splits: by default
    200 for Bradley-Terry and 10 for regression. The same arguments give the same figures.
    """
    every = [one for found in checkpoints.values() for one in found]
    if not every or len(set(prompt_ids)) < 2:
        return None
    if n_splits is None:
        n_splits = SCALAR_SPLITS if every[0].chosen.ndim == 1 else MERGED_SPLITS
    choosing, other, by_rate = [], [], []
    with ThreadPoolExecutor(n_threads) as threads:
        for half in _halves(prompt_ids, n_splits, seed):
            on_half = dict(zip(map(id, every), threads.map(_score, every, [half] * len(every)), strict=True))
            scored = {run: [on_half[id(one)] for one in found] for run, found in checkpoints.items()}
            accuracies = _choose_and_measure(scored, ~half)
            choosing.append(accuracies[0])
            other.append(accuracies[1])
            by_rate.append([_choose_and_measure(one, ~half)[1] for one in _rate_by_rate(scored)])
    rates = np.mean(by_rate, axis=0)
    return Optimism(float(np.mean(choosing)), float(np.mean(other)), float(rates.mean()), float(rates.max()), n_splits)


def _text(rewards: np.ndarray) -> str:
    return base64.b64encode(rewards.astype(_FORMAT).tobytes()).decode("ascii")


def _numbers(text: str, n_pairs: int) -> np.ndarray:
    """(n_pairs,) for one output, (n_pairs, 5) for five."""
    rewards = np.frombuffer(base64.b64decode(text), dtype=_FORMAT).reshape(n_pairs, -1)
    return rewards[:, 0] if rewards.shape[1] == 1 else rewards


def _refuse_not_finite(rewards: torch.Tensor) -> None:
    wrong = int((~torch.isfinite(rewards)).any(dim=1).sum())
    if wrong:
        raise TrainingFailed(
            f"{wrong} of {len(rewards)} validation responses get a reward that is NaN or infinite: the training "
            "diverged, or the base model's numbers leave the range of the precision; take a smaller rate"
        )


@dataclass(frozen=True)
class _Scored:
    """A checkpoint on the half that chooses: its evaluation, and the margins of all pairs by what the half chose."""

    evaluation: Evaluation
    margins: np.ndarray


def _score(checkpoint: CheckpointRewards, half: np.ndarray) -> _Scored:
    chosen, rejected = checkpoint.chosen, checkpoint.rejected
    if chosen.ndim == 1:
        margins = chosen.astype(np.float64) - rejected
        loss: float | None = float(np.logaddexp(0, -margins[half]).mean())
    else:
        weights = best_merge(chosen[half], rejected[half]).weights
        margins, loss = merged_margins(np.array(weights), chosen, rejected), checkpoint.loss
    n_won = int(np.count_nonzero(margins[half] > 0))
    return _Scored(Evaluation(checkpoint.step, n_won, int(half.sum()), loss), margins)


def _choose_and_measure(
    scored: Mapping[tuple[float, int], Sequence[_Scored]], other: np.ndarray
) -> tuple[float, float]:
    """Accuracy of the choice on its own half and on the other."""
    choice = choose({run: [one.evaluation for one in found] for run, found in scored.items()})
    assert choice is not None, "there is a checkpoint"
    run = scored[choice.learning_rate, choice.seed]
    margins = next(one.margins for one in run if one.evaluation.step == choice.evaluation.step)
    return choice.evaluation.accuracy, float(np.mean(margins[other] > 0))


def _rate_by_rate(
    scored: Mapping[tuple[float, int], Sequence[_Scored]],
) -> list[dict[tuple[float, int], Sequence[_Scored]]]:
    """The runs of each rate that has a checkpoint."""
    rates = dict.fromkeys(rate for (rate, _), found in scored.items() if found)
    return [{run: found for run, found in scored.items() if run[0] == rate} for rate in rates]


def _halves(prompt_ids: Sequence[str], n_splits: int, seed: int) -> list[np.ndarray]:
    """(n_pairs,) masks: both halves of every split. Pairs of one prompt stay together."""
    generator = np.random.default_rng(seed)
    _, prompt = np.unique(np.asarray(prompt_ids), return_inverse=True)
    n_prompts = int(prompt.max()) + 1
    masks = []
    for _ in range(n_splits):
        first = np.zeros(n_prompts, dtype=bool)
        first[generator.permutation(n_prompts)[: n_prompts // 2]] = True
        masks += [first[prompt], ~first[prompt]]
    return masks
