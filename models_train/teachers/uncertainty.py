"""Whether a reward model knows when it is wrong: calibration, confident errors, abstention (definitions, Section 13).

Everything is over pairs of responses to one prompt that differ under the gold reward: the better one is "chosen".
Arrays of pairs have the axes (members, pairs) and the chosen response's side first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from models_train.selection.item_metrics import Floats
from models_train.selection.item_statistics import Counts, resampled_sums
from models_train.teachers.resampling import ratios

Places = NDArray[np.intp]

BINS = 20
"""Equally wide bins of probability."""
BETA = 1.0
"""Standard deviations (ddof 1) between the mean of the members and a bound."""
WEIGHTS = (0.0, 0.01, 0.2, 1.0)
"""b of ranking(b)."""
COVERAGES = (0.5, 0.8)
STEPS = 500
"""Groups of pairs, by uncertainty, that the intervals of figures over coverage are computed with."""


@dataclass(frozen=True)
class Pairs:
    """Pairs of responses that differ under the gold. prompt, better, worse: (pairs,), the prompt and the columns."""

    prompt: Places
    better: Places
    worse: Places


def gold_pairs(gold: Floats) -> Pairs:
    """The pairs of a gold reward, (prompts, responses), NaN where there is no response."""
    first, second = np.triu_indices(gold.shape[1], 1)
    one, other = gold[:, first], gold[:, second]
    with np.errstate(invalid="ignore"):
        prompt, pair = np.nonzero((one > other) | (one < other))
        is_first = (one > other)[prompt, pair]
    better, worse = np.where(is_first, first[pair], second[pair]), np.where(is_first, second[pair], first[pair])
    return Pairs(prompt, better, worse)


def calibration_sums(margins: Floats, pairs: Pairs, n_prompts: int) -> Floats:
    """Sums by prompt and bin of probability, each pair counted both ways round: (4, prompts, bins).

    margins: (pairs,), in log-odds. The four: number of pairs, their probabilities, those that are right, and squared
    errors. A pair has p with label 1, and turned 1 - p with label 0.
    """
    probabilities = expit(margins)
    shape = (n_prompts, BINS)
    found = np.zeros((4, *shape))
    for p, label in ((probabilities, 1.0), (1 - probabilities, 0.0)):
        cell = pairs.prompt * BINS + np.minimum((p * BINS).astype(np.intp), BINS - 1)
        for place, values in enumerate((None, p, np.full(p.size, label), np.square(p - label))):
            found[place] += np.bincount(cell, values, n_prompts * BINS).reshape(shape)
    return found


def calibration(sums: Floats, counts: Counts) -> dict[str, Floats]:
    """ece, mce and brier in every resample, (1 + resamples,) each. sums: as `calibration_sums` gives them.

    ece: mean over pairs of |mean probability - share right| of their bin; mce: the largest of these; brier: mean
    squared error.
    """
    number, p, right, squares = (resampled_sums(counts, one) for one in sums)
    gaps = np.nan_to_num(np.abs(ratios(p - right, number)))
    whole = number.sum(axis=0)
    return {
        "ece": ratios((gaps * number).sum(axis=0), whole),
        "mce": np.where(whole > 0, gaps.max(axis=0), np.nan),
        "brier": ratios(squares.sum(axis=0), whole),
    }


def confidence_sums(chosen: Floats, rejected: Floats, pairs: Pairs, n_prompts: int) -> Floats:
    """Pairs by prompt that are confident and true, confident and false, true, false, in all: (5, prompts).

    chosen, rejected: (members, pairs), at least two members. A response's bounds are the members' mean -/+ BETA times
    their standard deviation (ddof 1); confident: the bounds of the two do not overlap. True: the mean of the chosen
    one is higher; false: not higher, a tie included.
    """
    means, spreads = zip(*((side.mean(axis=0), side.std(axis=0, ddof=1)) for side in (chosen, rejected)), strict=True)
    low, high = (
        [mean + reach * spread for mean, spread in zip(means, spreads, strict=True)] for reach in (-BETA, BETA)
    )
    is_true = means[0] > means[1]
    flags = (low[0] > high[1], high[0] < low[1], is_true, ~is_true, np.ones(is_true.size, bool))
    return np.stack([np.bincount(pairs.prompt, flag, n_prompts) for flag in flags])


def confidence(sums: Floats, counts: Counts) -> dict[str, Floats]:
    """Shares of all pairs, and ranking(b), in every resample: (1 + resamples,) each. sums: of `confidence_sums`.

    ranking(b) = CT / ((1-b) T + b) - CF / ((1-b) F + b), with the shares of confident and true, confident and false,
    true, and false pairs; a quotient 0 / 0 counts as 0.
    """
    both = resampled_sums(counts, sums.T)
    ct, cf, true, false = (ratios(one, both[4]) for one in both[:4])
    found = {
        "confident_true": ct,
        "confident_false": cf,
        "unconfident_true": true - ct,
        "unconfident_false": false - cf,
    }
    for b in WEIGHTS:
        quotients = (
            np.where(side == 0, 0.0, ratios(side, (1 - b) * whole + b)) for side, whole in ((ct, true), (cf, false))
        )
        found[f"ranking_{b:g}"] = next(quotients) - next(quotients)
    return found


def coverage(margins: Floats, pairs: Pairs, n_prompts: int, counts: Counts) -> dict[str, Floats]:
    """Accuracy of the pairs that are kept when the most uncertain ones are not decided: (1 + resamples,) each.

    margins: (members, pairs), at least two members. Uncertainty of a pair: standard deviation of the members' margins;
    pairs of equal uncertainty enter together. accuracy_at_50, _80: with half, four fifths of the pairs; a group of
    which only a part fits enters in part. aurc: mean error over all coverages. The sample's own figures are exact;
    the resamples use at most STEPS groups of pairs.
    """
    uncertainty, right = margins.std(axis=0), margins.mean(axis=0) > 0
    order = np.argsort(uncertainty, kind="stable")
    begins = np.append(True, np.diff(uncertainty[order]) > 1e-12 * uncertainty.max(initial=0))
    group = np.empty(order.size, np.intp)
    group[order] = np.cumsum(begins) - 1
    sizes = np.bincount(group)
    exact = _along(sizes.astype(float)[:, None], np.bincount(group, right).astype(float)[:, None])
    if len(counts) == 1:
        return exact
    # Neighbouring groups are joined, none is cut.
    step = (np.cumsum(sizes) - 1) * STEPS // order.size
    cell = pairs.prompt * STEPS + step[group]
    number, won = (
        np.bincount(cell, values, n_prompts * STEPS).reshape(n_prompts, STEPS).astype(float) for values in (None, right)
    )
    drawn = _along(resampled_sums(counts[1:], number), resampled_sums(counts[1:], won))
    return {name: np.append(exact[name], drawn[name]) for name in exact}


def _along(number: Floats, won: Floats) -> dict[str, Floats]:
    """Figures over coverage. number, won: pairs and right ones of each group, most certain first: (groups, cases)."""
    total = number.sum(axis=0)
    before, right_before = np.cumsum(number, axis=0) - number, np.cumsum(won, axis=0) - won
    accuracy = np.nan_to_num(ratios(won, number))
    found = {}
    for share in COVERAGES:
        part = np.clip(share * total - before, 0, number)
        found[f"accuracy_at_{share * 100:.0f}"] = ratios((part * accuracy).sum(axis=0), share * total)
    # Sum over a group of (right + j accuracy) / (before + j): its pairs enter one by one, in random order.
    harmonic = np.append(0.0, np.cumsum(1 / np.arange(1, total.max(initial=0) + 1)))
    steps = harmonic[np.rint(before + number).astype(np.intp)] - harmonic[np.rint(before).astype(np.intp)]
    kept_right = (accuracy * number + (right_before - accuracy * before) * steps).sum(axis=0)
    return found | {"aurc": 1 - ratios(kept_right, total)}
