"""Do the searches choose well? Merge vectors against the weights behind the preferences, the rate against others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np

from models_train.reward_models.merge_vector import N_LEVELS
from models_train.synthetic.checks.resampling import MIN_MODELS, Floats, draws, median
from models_train.synthetic.checks.rows import Check, estimated

MERGE_WEIGHTS, LEARNING_RATE = "merge_weights", "learning_rate"
FEW_RATES = "fewer than two rates came to the end, so nothing was chosen"
_SIGNS = np.array([1.0, 1.0, 1.0, 1.0, -1.0])


@dataclass(frozen=True)
class Merge:
    """The merge vector that a search found for a reward model: (5,), helpfulness to verbosity."""

    model_id: str
    pretrained: str
    weights: tuple[float, ...]


@dataclass(frozen=True)
class RateSearch:
    """What choosing on half of the validation prompts gives on the other half, in percent of the pairs won.

    chosen: of the rate that the search's rule takes; mean_rate, best_rate: of all rates that came to the end, each with
    its own checkpoint (and merge vector) of the half that chooses. None where there is none.
    """

    model_id: str
    pretrained: str
    objective: str
    chosen: float | None
    mean_rate: float | None
    best_rate: float | None
    n_rates: int


def merge_checks(merges: Sequence[Merge], true_weights: Sequence[float], n_resamples: int, seed: str) -> list[Check]:
    """Cosine and largest error of the merge vectors, both sides scaled to length 1: per reward model and their median.

    Only directions are compared, for a multiple of a vector prefers the same responses. What has to be beaten: equal
    weights, which need no search, and the mean over all vectors of the search's grid, which is chance.
    """
    true = np.asarray(true_weights, dtype=np.float64)
    baselines = {
        "equal_weights": likeness(_SIGNS[None, :], true)[0],
        "random_vector": random_likeness(tuple(true)),
    }
    found = np.array([likeness(np.array([one.weights]), true)[0] for one in merges]).reshape(-1, 2)
    checks = []
    for place, statistic in enumerate(("cosine", "largest_error")):
        for name, baseline in baselines.items():
            goal = float(baseline[place])
            own = Check(MERGE_WEIGHTS, statistic, 1, baseline=goal, baseline_name=name, objective="regression")
            checks += [
                replace(own, model_id=one.model_id, value=float(value))
                for one, value in zip(merges, found[:, place], strict=True)
            ]
            pretrained = [one.pretrained for one in merges]
            checks.append(_median(own, found[:, place], own.baseline, pretrained, n_resamples, seed))
    return checks


def rate_checks(searches: Sequence[RateSearch], n_resamples: int, seed: str) -> list[Check]:
    """Accuracy of the rate search's choice where it did not choose, per reward model and the median of each objective.

    All on the half of the validation prompts that took no part in choosing, mean over many splits. accuracy: of the
    choice, in percent; to beat: the mean rate. gain_points: the difference of the two. shortfall_points: how far the
    choice stays behind the best rate; to beat: how far the mean rate does. The best rate is known from that half
    itself, which flatters it a little.
    """
    checks = []
    for objective in sorted({one.objective for one in searches}):
        mine = [one for one in searches if one.objective == objective]
        known = [one for one in mine if _is_known(one)]
        checks += [
            Check(LEARNING_RATE, "accuracy", 1, objective=objective, model_id=one.model_id, reason=FEW_RATES)
            for one in mine
            if not _is_known(one)
        ]
        chosen, mean, best = (
            np.array([getattr(one, name) for one in known], dtype=np.float64)
            for name in ("chosen", "mean_rate", "best_rate")
        )
        zero = np.zeros(len(known))
        for statistic, values, baselines, name in (
            ("accuracy", chosen, mean, "mean_rate"),
            ("gain_points", chosen - mean, zero, "no_gain"),
            ("shortfall_points", best - chosen, best - mean, "mean_rate"),
        ):
            own = Check(LEARNING_RATE, statistic, 1, baseline_name=name, objective=objective)
            checks += [
                replace(own, model_id=one.model_id, value=float(value), baseline=float(baseline))
                for one, value, baseline in zip(known, values, baselines, strict=True)
            ]
            baseline = float(np.median(baselines)) if known else None
            pretrained = [one.pretrained for one in known]
            checks.append(_median(own, values, baseline, pretrained, n_resamples, seed))
    return checks


def likeness(vectors: Floats, true: Floats) -> Floats:
    """Cosine with the true weights, and the largest absolute error of a weight, both scaled to length 1: (vectors, 2).

    vectors: (vectors, 5), none of them zero; true: (5,).
    """
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = true / np.linalg.norm(true)
    return np.stack([np.clip(units @ unit, -1, 1), np.abs(units - unit).max(axis=1)], axis=1)


@cache
def random_likeness(true: tuple[float, ...]) -> tuple[float, float]:
    """Mean of both over every vector of the merge search's grid but zero: what a random one would give."""
    levels = np.arange(N_LEVELS, dtype=np.float64)
    rest = np.stack(np.meshgrid(levels, levels, levels, -levels, indexing="ij"), axis=-1).reshape(-1, 4)
    total, count = np.zeros(2), 0
    for first in levels:  # a slice at a time: the whole grid with its errors would take half a gigabyte
        vectors = np.column_stack([np.full(len(rest), first), rest])
        vectors = vectors[vectors.any(axis=1)]
        total += likeness(vectors, np.array(true)).sum(axis=0)
        count += len(vectors)
    cosine, error = total / count
    return float(cosine), float(error)


def _is_known(search: RateSearch) -> bool:
    return None not in (search.chosen, search.mean_rate, search.best_rate) and search.n_rates >= 2


def _median(
    own: Check, values: Floats, baseline: float | None, pretrained: Sequence[str], n_resamples: int, seed: str
) -> Check:
    """The median over reward models, those of one pre-training drawn together."""
    weights = draws(pretrained, n_resamples, f"{seed}/{own.check_name}/{own.objective}")
    enough = len(set(pretrained)) >= MIN_MODELS
    return replace(own, n=len(values), **estimated(partial(median, values), weights, baseline, enough))
