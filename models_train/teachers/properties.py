"""Properties of rewards on the responses of a policy (definitions, Section 13): spread, accuracy, length.

Arrays have the axes (rewards, prompts, responses); `is_there` (prompts, responses) says which cells are responses, and
every other cell is NaN. A prompt has at least two responses, and a finite reward for each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models_train.selection.item_metrics import Flags, Floats
from models_train.selection.item_statistics import Counts, resampled_sums, variance_shares
from models_train.teachers.resampling import ratios

NO_SPREAD = 1e-14
"""Share of the largest square of a reward up to which a variance is rounding: less than float32 can tell apart."""


def means_and_deviations(rewards: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation (ddof 1) over all responses of all prompts: (rewards,) each; 0 without spread."""
    known = ~np.isnan(rewards)
    n = known.sum(axis=(1, 2))
    means = ratios(np.where(known, rewards, 0.0).sum(axis=(1, 2)), n)
    squares = np.square(np.where(known, rewards - means[:, None, None], 0.0)).sum(axis=(1, 2))
    variances = ratios(squares, n - 1)
    least = NO_SPREAD * np.square(np.where(known, rewards, 0.0)).max(axis=(1, 2), initial=0)
    return means, np.sqrt(np.where(variances > least, variances, 0.0))


def z_scores(rewards: Floats) -> Floats:
    """Rewards less their mean, over their standard deviation (ddof 1), over all responses; NaN without spread."""
    means, deviations = means_and_deviations(rewards)
    return ratios(rewards - means[:, None, None], deviations[:, None, None])


def prompt_variances(rewards: Floats) -> Floats:
    """Variance (ddof 1) of the rewards of each prompt: (rewards, prompts); exactly 0 where all are equal."""
    known = ~np.isnan(rewards)
    n = known.sum(axis=2)
    means = ratios(np.where(known, rewards, 0.0).sum(axis=2), n)
    squares = np.square(np.where(known, rewards - means[:, :, None], 0.0)).sum(axis=2)
    highest = np.where(known, rewards, -np.inf).max(axis=2)
    lowest = np.where(known, rewards, np.inf).min(axis=2)
    return np.where(highest == lowest, 0.0, ratios(squares, n - 1))


def resampled_variances(rewards: Floats, counts: Counts) -> dict[str, Floats]:
    """Spread in every resample: name -> (rewards, 1 + resamples).

    reward_variance: mean over prompts of the variance (ddof 1) of whitened rewards, which are less the mean and over
    the standard deviation (ddof 1, no epsilon) of all rewards of the resample: Razin et al.'s, about the share of the
    variance that is within prompts. within_variance_raw: mean variance (ddof 1) within a prompt, in the reward's own
    unit squared; between_variance_raw: variance (ddof 1) of the means of the prompts. total: of all rewards, ddof 1.
    """
    is_there = np.ones(rewards.shape[1::-1], bool)
    found = {
        name: np.maximum(values, 0.0)  # not below 0 by rounding
        for name, values in variance_shares(np.moveaxis(rewards, 0, 2), is_there, counts).items()
    }
    return found | {"total": ratios(found["within_variance_raw"], found["reward_variance"])}


@dataclass(frozen=True)
class PairSums:
    """Pairs of responses to a prompt, summed by prompt.

    sign_equal, won, tied: (rewards, prompts); n_pairs, n_informative: (prompts,). sign_equal: pairs whose difference
    has the same sign under reward and gold, where equal under both counts. Informative pairs differ under the gold;
    of these `won` are in the gold's order, and `tied` equal under the reward.
    """

    sign_equal: Floats
    won: Floats
    tied: Floats
    n_pairs: Floats
    n_informative: Floats

    @property
    def accuracies(self) -> dict[str, tuple[Floats, Floats]]:
        """name -> values (rewards, prompts) and weights (prompts,), whose ratio of sums is the accuracy.

        on_policy_accuracy: mean over prompts of the share of pairs of equal sign (Razin et al.); _strict: share of all
        informative pairs won, a tie is not won; _half: the same with ties as half.
        """
        return {
            "on_policy_accuracy": (ratios(self.sign_equal, self.n_pairs), np.ones(len(self.n_pairs))),
            "on_policy_accuracy_strict": (self.won, self.n_informative),
            "on_policy_accuracy_half": (self.won + self.tied / 2, self.n_informative),
        }


def pair_sums(rewards: Floats, gold: Floats) -> PairSums:
    """Pairs under each reward and the gold. rewards: (rewards, prompts, responses), gold: (prompts, responses)."""
    first, second = np.triu_indices(gold.shape[1], 1)
    is_pair = ~np.isnan(gold[:, first]) & ~np.isnan(gold[:, second])
    true = pair_signs(gold, first, second)
    informative = true != 0
    shape = rewards.shape[:2]
    equal, won, tied = np.empty(shape), np.empty(shape), np.empty(shape)
    for place, values in enumerate(rewards):
        own = pair_signs(values, first, second)
        is_equal = (own == true) & is_pair
        equal[place] = is_equal.sum(axis=1)
        won[place] = (is_equal & informative).sum(axis=1)
        tied[place] = ((own == 0) & informative).sum(axis=1)
    return PairSums(equal, won, tied, is_pair.sum(axis=1).astype(float), informative.sum(axis=1).astype(float))


def pair_signs(values: Floats, first: NDArray[np.intp], second: NDArray[np.intp]) -> NDArray[np.int8]:
    """Sign of the difference of each pair of columns, 0 where one is NaN: (prompts, pairs)."""
    one, other = values[:, first], values[:, second]
    with np.errstate(invalid="ignore"):
        return (one > other).astype(np.int8) - (one < other).astype(np.int8)


def tied_shares(rewards: Floats) -> Floats:
    """Share of the pairs of responses to a prompt that have equal rewards, of all prompts: (rewards,)."""
    known = ~np.isnan(rewards)
    ordered = np.sort(np.where(known, rewards, np.inf), axis=2)
    equal = np.zeros(len(rewards))
    n = known.sum(axis=2)
    for step in range(1, rewards.shape[2]):
        pairs = np.isfinite(ordered[..., step:]) & (ordered[..., step:] == ordered[..., :-step])
        found = pairs.sum(axis=(1, 2))
        equal += found
        if not found.any():
            break
    return ratios(equal, (n * (n - 1) / 2).sum(axis=1))


def resampled_length_correlations(rewards: Floats, lengths: Floats, counts: Counts) -> Floats:
    """Pearson's correlation of reward and length within prompts, in every resample: (rewards, 1 + resamples).

    lengths: (prompts, responses). Both are less their mean over the responses to the prompt, then all prompts are
    taken together; NaN where one of the two does not vary within any prompt.
    """
    known = ~np.isnan(rewards[0]) if len(rewards) else np.ones(lengths.shape, bool)
    own, length = _centred(rewards, known), _centred(lengths[None].astype(float), known)[0]
    own[prompt_variances(rewards) == 0] = 0.0
    products = (own * length).sum(axis=2)
    squares, lengths_squared = np.square(own).sum(axis=2), np.square(length).sum(axis=1)
    joint, spread = resampled_sums(counts, products.T), resampled_sums(counts, squares.T)
    return ratios(joint, np.sqrt(spread * resampled_sums(counts, lengths_squared[:, None])))


def _centred(values: Floats, known: Flags) -> Floats:
    filled = np.where(known, values, 0.0)
    return np.where(known, filled - ratios(filled.sum(axis=2), known.sum(axis=1))[..., None], 0.0)
