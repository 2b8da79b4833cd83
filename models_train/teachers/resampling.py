"""Bootstrap over prompts: every figure again in every resample, by products with one matrix of counts.

A resample draws prompts with replacement, all responses and all rewards of a prompt together, so that two rewards, two
sizes n or an ensemble and its members are always compared on the same draws. A figure is a ratio of sums over prompts;
`resampled_ratios` sums both sides in every resample, so that no normalisation is carried over from the sample.
Column 0 of every resampled array is the sample itself. Whatever is chosen (the best member of an ensemble) is chosen on
one half of the prompts and judged on the other.
"""

from __future__ import annotations

import numpy as np

from models_train.selection.item_metrics import Flags, Floats
from models_train.selection.item_statistics import Counts, interval, resample_counts, resampled_sums

SPLITS = 20
"""Random halves of the prompts, each used both ways round."""
MIN_PROMPTS = 8
"""Fewest prompts behind an interval."""
FEW_PROMPTS = f"fewer than {MIN_PROMPTS} prompts: no interval"


def prompt_counts(n_prompts: int, resamples: int, seed: int) -> Counts:
    """How often each prompt is in the sample (row 0: once) and in every resample: (1 + resamples, prompts)."""
    return resample_counts(np.zeros(n_prompts, np.int8), resamples, seed)


def ratios(sums: Floats, weights: Floats) -> Floats:
    """sums / weights, NaN where a weight is 0."""
    shape = np.broadcast_shapes(np.shape(sums), np.shape(weights))
    return np.divide(sums, weights, out=np.full(shape, np.nan), where=np.broadcast_to(weights, shape) > 0)


def resampled_ratios(values: Floats, weights: Floats, counts: Counts) -> Floats:
    """Sum of the values over the sum of the weights, in every resample: (figures, 1 + resamples).

    values: (figures, prompts), 0 where a prompt does not count; weights: (prompts,) or (figures, prompts), 1 for a mean
    over prompts, the number of pairs for a share of pairs.
    """
    return ratios(resampled_sums(counts, values.T), resampled_sums(counts, np.atleast_2d(weights).T))


def ends(resampled: Floats, n_prompts: int) -> tuple[Floats, Floats]:
    """Ends of the 95 % percentile interval over the last axis; NaN for few prompts, or without resamples."""
    if n_prompts < MIN_PROMPTS or resampled.shape[-1] < 2:
        nothing = np.full(resampled.shape[:-1], np.nan)
        return nothing, nothing.copy()
    return interval(resampled)


def half_splits(n_prompts: int, splits: int, seed: int) -> Flags:
    """Random halves of the prompts, the larger one where their number is odd: (splits, prompts)."""
    order = np.random.default_rng(seed).random((splits, n_prompts)).argsort(axis=1)
    return order.argsort(axis=1) < (n_prompts + 1) // 2


def over_the_chosen(own: Floats, members: Floats, weights: Floats, counts: Counts, halves: Flags) -> Floats:
    """Figures minus that of the member chosen on the other half of the prompts: (figures, 1 + resamples).

    own: (figures, prompts), members: (members, prompts), weights: (prompts,), as in `resampled_ratios`. In every
    resample and for every half, the member with the highest ratio on that half is compared on the other half; members
    that are equally high share. The mean over the halves, each used both ways round.
    """
    both = np.concatenate([members, own, weights[None]])
    whole = resampled_sums(counts, both.T)
    total = np.zeros((len(own), len(counts)))
    known = np.zeros(len(counts))
    for half in halves:
        one = resampled_sums(counts[:, half], both[:, half].T)
        for chosen, judged in ((one, whole - one), (whole - one, one)):
            usable = (chosen[-1] > 0) & (judged[-1] > 0)
            score, other = ratios(chosen[: len(members)], chosen[-1]), ratios(judged[:-1], judged[-1])
            score = np.where(usable, score, 0.0)
            is_best = score >= score.max(axis=0) - 1e-12 * np.abs(score).max(axis=0)
            picked = (is_best * np.where(usable, other[: len(members)], 0.0)).sum(axis=0) / is_best.sum(axis=0)
            total += np.where(usable, other[len(members) :] - picked, 0.0)
            known += usable
    return ratios(total, known)
