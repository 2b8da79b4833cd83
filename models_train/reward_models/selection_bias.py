"""How much choosing flatters: rate, checkpoint and merge vector chosen on half of the validation prompts, measured on
the other half (definitions, Section 9).

The validation prompts are split at random into two halves, many times; each half chooses once and the other measures.
A half chooses as the search does (`learning_rate_search.choose`), among the checkpoints of the training runs that came
to the end; for regression every checkpoint gets its own best merge vector on the half. Choosing on half as many pairs
flatters more than choosing on all of them: the optimism of the search itself is smaller than this.

The same halves tell what choosing the rate is worth: every rate alone, with its best checkpoint (and merge vector) of
the half that chooses, is measured on the other half, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from models_train.reward_models.merge_vector import best_merge, merged_margins
from models_train.reward_models.search import Evaluation, choose

SCALAR_SPLITS = 200
MERGED_SPLITS = 10
"""A merge search on half of 519 pairs takes about 0.07 s of one core, and a split makes two for every checkpoint: with
310 checkpoints (the paper's grid of ten rates) a split takes 45 s of one core."""


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
        """How much choosing flatters, in percentage points."""
        return 100 * (self.accuracy_choosing_half - self.accuracy_other_half)


Checkpoints = Mapping[tuple[float, int], Sequence[CheckpointRewards]]
"""Of every training run (rate, seed) of the rates that came to the end; those of a failed seed are empty."""


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
