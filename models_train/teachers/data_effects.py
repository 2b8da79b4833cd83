"""What other preference data change of a reward model and of what it teaches (definitions, Section 17).

A reward model that is trained on a variant of the preferences is compared with the one of the same base model,
objective and rate that is trained on the preferences themselves: on the same responses with the same resamples of
prompts, and after teaching by the same seeds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from models_train.selection.item_metrics import Floats
from models_train.selection.item_statistics import Counts, seed_of
from models_train.teachers.arrays import Compared, comparisons
from models_train.teachers.best_of_n import curves
from models_train.teachers.gains import Runs, gold_runs, pooled_over_seeds, seed_draws
from models_train.teachers.properties import pair_sums, resampled_variances
from models_train.teachers.resampling import FEW_PROMPTS, MIN_PROMPTS, ends, resampled_ratios

Row = dict[str, Any]
NO_SHARED_SEED = "no seed in common"
SCHEMA = {
    **dict.fromkeys(
        ("study_id", "reward_id", "reference_id", "outcome", "policy_id", "prompt_set", "gold_id"), pl.String
    ),
    "n_best_of": pl.Int64,
    **dict.fromkeys(("value", "reference_value", "difference", "low", "high"), pl.Float64),
    **dict.fromkeys(("n_prompts", "n_seeds"), pl.Int64),
    "status": pl.String,
}
"""Columns of `data_effects`. outcome: on_policy_accuracy, reward_variance, best_of_n_gain, or `<method>_gain`."""


def data_effects(
    cells: pl.DataFrame,
    arrays: pl.DataFrame,
    golds: pl.DataFrame,
    runs: pl.DataFrame,
    variants: pl.DataFrame,
    resamples: int,
) -> pl.DataFrame:
    """One row per reward model of a variant, policy, gold and outcome: its figure less that of its reference.

    cells, arrays, golds: as in `comparisons`. runs: rows of int_policy_run_prompts. variants: study_id, reward_id,
    reference_id. By one thread: dbt runs two models at once.
    """
    listed: dict[str, list[tuple[str, str]]] = {}
    for study_id, *pair in variants.select("study_id", "reward_id", "reference_id").sort(pl.all()).iter_rows():
        listed.setdefault(study_id, []).append((pair[0], pair[1]))
    with threadpool_limits(1):
        rows = [
            row
            for one in comparisons(cells, arrays, golds)
            if one.study_id in listed
            for row in _on_responses(one, listed[one.study_id], resamples)
        ]
        rows += _by_teaching(runs.filter(pl.col("study_id").is_in(list(listed))), listed, resamples)
    return pl.DataFrame(rows, schema=pl.Schema(SCHEMA), orient="row").fill_nan(None)


def _on_responses(every: Compared, pairs: list[tuple[str, str]], resamples: int) -> Iterator[Row]:
    """Rows of accuracy, variance and best of n on the responses of a policy."""
    known = [pair for pair in pairs if set(pair) <= set(every.reward_ids)]
    if not known:
        return
    counts = every.counts(resamples)
    figures = {
        "on_policy_accuracy": _accuracies(every, counts),
        "reward_variance": resampled_variances(every.rewards, counts)["reward_variance"],
    }
    full = every.with_full_pools
    n = max(1, full.n_pool // 2)
    gains = curves(full.rewards, full.gold, [n]).gains("gold")[..., -1]
    figures["best_of_n_gain"] = resampled_ratios(gains, np.ones(gains.shape[1]), full.counts(resamples))
    for reward_id, reference_id in known:
        own, other = (every.reward_ids.index(name) for name in (reward_id, reference_id))
        for outcome, values in figures.items():
            n_prompts = (full if outcome == "best_of_n_gain" else every).n_prompts
            key = every.key | {"reward_id": reward_id, "reference_id": reference_id, "outcome": outcome}
            size = {"n_best_of": n if outcome == "best_of_n_gain" else None, "n_seeds": None}
            yield key | size | _less(values[own], values[other], n_prompts)


def _accuracies(one: Compared, counts: Counts) -> Floats:
    values, weights = pair_sums(one.rewards, one.gold).accuracies["on_policy_accuracy"]
    return resampled_ratios(values, weights, counts)


def _less(own: Floats, other: Floats, n_prompts: int) -> Row:
    """Figures of a reward model less those of its reference, in every resample: (1 + resamples,) each."""
    low, high = ends(own - other, n_prompts)
    return {
        "value": float(own[0]),
        "reference_value": float(other[0]),
        "difference": float(own[0] - other[0]),
        "low": float(low),
        "high": float(high),
        "n_prompts": n_prompts,
        "status": FEW_PROMPTS if n_prompts < MIN_PROMPTS else "ok",
    }


def _by_teaching(runs: pl.DataFrame, listed: dict[str, list[tuple[str, str]]], resamples: int) -> Iterator[Row]:
    """Rows of the gold gain of policies at the end of their training, paired by seed and prompt."""
    groups = gold_runs(runs, resamples)
    by_reward = {(_taught(one), one.key["reward_id"]): one for one in groups}
    for one in groups:
        for reward_id, reference_id in listed.get(str(one.key["study_id"]), []):
            reference = by_reward.get((_taught(one), reference_id))
            if one.key["reward_id"] == reward_id and reference is not None:
                yield _gain_row(one, reference, resamples)


def _taught(one: Runs) -> tuple[Any, ...]:
    """What runs have in common that are compared."""
    return tuple(one.key[name] for name in ("study_id", "policy_id", "prompt_set", "method", "gold_id"))


def _gain_row(one: Runs, reference: Runs, resamples: int) -> Row:
    names = ("study_id", "policy_id", "prompt_set", "gold_id", "reward_id")
    key = {name: one.key[name] for name in names} | {"reference_id": reference.key["reward_id"], "n_best_of": None}
    key["outcome"] = f"{one.key['method']}_gain"
    shared = sorted(set(one.seeds) & set(reference.seeds))
    if not shared:
        return dict.fromkeys(SCHEMA) | key | {"n_prompts": 0, "n_seeds": 0, "status": NO_SHARED_SEED}
    own, other = (each.change("gold")[[each.seeds.index(seed) for seed in shared], -1] for each in (one, reference))
    drawn = seed_draws(len(shared), resamples, seed_of(*map(str, _taught(one))))
    n_prompts = int(min(each.complete("gold").sum() for each in (one, reference)))
    pooled, of_reference = (pooled_over_seeds(side, drawn) for side in (own, other))
    return key | {"n_seeds": len(shared)} | _less(pooled, of_reference, n_prompts)
