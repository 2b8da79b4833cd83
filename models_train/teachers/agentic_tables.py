"""What checks add to a reward (definitions, Section 16): the rows of `fct_agentic_gains`, by benchmark and policy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from models_train.selection.item_arrays import Scored
from models_train.selection.item_metrics import Floats, unit_values
from models_train.selection.item_statistics import FEW_ITEMS, MIN_ITEMS, Counts, interval, resample_counts
from models_train.teachers.agentic import that_choose
from models_train.teachers.arrays import Compared
from models_train.teachers.best_of_n import curves
from models_train.teachers.resampling import FEW_PROMPTS, MIN_PROMPTS, resampled_ratios
from models_train.teachers.tables import Settings

Row = dict[str, Any]
NO_VALUES = "no item has both rewards"
NO_REWARDS = "the rewards are not compared: "
GAINS = {
    **dict.fromkeys(("study_id", "reward_id", "plain_reward_id", "added", "compared_on"), pl.String),
    **dict.fromkeys(("benchmark", "policy_id", "prompt_set", "gold_id", "metric"), pl.String),
    **dict.fromkeys(("n_best_of", "n", "n_left_out", "n_better", "n_worse"), pl.Int64),
    **dict.fromkeys(("value_plain", "value", "gain", "low", "high"), pl.Float64),
    "status": pl.String,
}
"""Columns of the gains. n: items or prompts compared; n_better, n_worse: of these, with the checks."""
_EMPTY: Row = dict.fromkeys(GAINS)


def benchmark_gains(benchmark: Scored, weights: pl.DataFrame, resamples: int) -> pl.DataFrame:
    """One row per reward with checks: mean value of the items without and with them, on the same items.

    weights: columns of agentic_weights, one row per check. Items that chose weights are left out. The interval is over
    items, resampled within their subset.
    """
    rows = []
    for own in _rewards(weights, benchmark.study_id, benchmark.reward_ids):
        items, rewards = benchmark.items, [_of(benchmark, own[name]) for name in ("plain_reward_id", "reward_id")]
        keep = np.ones(len(items.ids), bool)
        if own["fit_benchmark"] == items.benchmark:
            keep = ~that_choose(items, own["fit_share"])
        kept = items.take(keep)
        found = [unit_values(kept, one[keep], main_only=True) for one in rewards]
        subsets, values = found[0].subsets, np.stack([one.main_values for one in found])
        known = ~np.isnan(values).any(axis=0)
        row = _begin(own) | {"compared_on": "benchmark", "benchmark": items.benchmark}
        row["metric"] = ", ".join(sorted({names[0] for names in found[0].reported.values()}))
        row["n_left_out"] = int((~keep).sum() + (~known).sum())
        codes = np.unique(subsets[known].astype(str), return_inverse=True)[1]
        counts = resample_counts(codes, resamples, benchmark.seed)
        rows.append(row | _compared(values[:, known], counts, MIN_ITEMS, FEW_ITEMS + ": no interval"))
    return pl.DataFrame(rows, schema=pl.Schema(GAINS), orient="row").fill_nan(None)


def policy_gains(every: Compared, weights: pl.DataFrame, resamples: int, settings: Settings) -> list[Row]:
    """One row per reward with checks: gold of the best of n responses without and with them, on the same prompts.

    n: the largest of the study's, from 2 on, with 2n responses to a prompt; without any, all responses.
    """
    one = every.with_full_pools
    sizes = [n for n in settings.sizes(one) if 2 <= n <= one.n_pool / 2] or [one.n_pool]
    n, rows = max(sizes), []
    names = [*one.reward_ids, *one.left_out]
    for own in _rewards(weights, one.study_id, names):
        row = _begin(own) | {name: value for name, value in one.key.items() if name in GAINS}
        row |= {"compared_on": "policy", "metric": "best_of_n_gold", "n_best_of": n}
        row["n_left_out"] = one.n_prompts_left_out
        missing = [own[name] for name in ("plain_reward_id", "reward_id") if own[name] not in one.reward_ids]
        if missing or not one.n_prompts:
            rows.append(row | {"n": 0, "status": NO_REWARDS + one.left_out.get(missing[0] if missing else "", "none")})
            continue
        places = [one.reward_ids.index(own[name]) for name in ("plain_reward_id", "reward_id")]
        found = curves(one.rewards[places], one.gold, [n])
        values = found.gold[:, :, found.sizes.index(n)]
        rows.append(row | _compared(values, one.counts(resamples), MIN_PROMPTS, FEW_PROMPTS))
    return rows


def _rewards(weights: pl.DataFrame, study_id: str, reward_ids: list[str]) -> Iterator[Row]:
    """Rewards with checks of a study that are there together with the plain one."""
    mine = weights.filter(study_id=study_id).unique("reward_id").sort("reward_id")
    for row in mine.to_dicts():
        if row["reward_id"] in reward_ids and row["plain_reward_id"] in reward_ids:
            yield row


def _of(benchmark: Scored, reward_id: str) -> Floats:
    found: Floats = benchmark.rewards[benchmark.reward_ids.index(reward_id)]
    return found


def _begin(own: Row) -> Row:
    return _EMPTY | {name: own[name] for name in ("study_id", "reward_id", "plain_reward_id", "added")}


def _compared(values: Floats, counts: Counts, least: int, few: str) -> Row:
    """Means of two rewards and their difference. values: (2, units), plain first; counts: of the units."""
    n = values.shape[1]
    if not n:
        return {"n": 0, "status": NO_VALUES}
    difference = values[1] - values[0]
    resampled = resampled_ratios(difference[None], np.ones(n), counts)
    low, high = interval(resampled) if n >= least and resampled.shape[1] > 1 else (np.array([np.nan]),) * 2
    return {
        "n": n,
        "n_better": int((difference > 0).sum()),
        "n_worse": int((difference < 0).sum()),
        "value_plain": float(values[0].mean()),
        "value": float(values[1].mean()),
        "gain": float(difference.mean()),
        "low": float(low[0]),
        "high": float(high[0]),
        "status": "ok" if n >= least else few,
    }
