"""Ensembles of reward models beside their members on benchmarks (definitions, Section 13).

Members are z-scored over all completions of the benchmark. A figure is the mean over the benchmark's units, items or
IDs of Ties, of the metric that makes its score; the weights of its subsets are left aside. Units are resampled within
their subsets, as elsewhere on benchmarks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import polars as pl

from models_train.selection.item_arrays import Scored
from models_train.selection.item_metrics import Floats, Names, unit_values
from models_train.selection.item_statistics import FEW_ITEMS, MIN_ITEMS, resample_counts
from models_train.teachers.arrays import LEAST_SHARE
from models_train.teachers.ensembles import FORMULAS, Ensemble
from models_train.teachers.properties import z_scores
from models_train.teachers.resampling import SPLITS, half_splits
from models_train.teachers.tables import ENSEMBLES, NO_SPREAD, Beside, Row, Settings

_OF_POLICIES = ("policy_id", "prompt_set", "gold_id", "metric", "n_best_of", "n_prompts", "n_prompts_left_out")
BENCHMARK_ENSEMBLES: Mapping[str, type[pl.DataType]] = {
    **{name: kind for name, kind in ENSEMBLES.items() if name not in _OF_POLICIES},
    "benchmark": pl.String,
    **dict.fromkeys(("n_items", "n_items_left_out"), pl.Int64),
}
"""Columns of `benchmark_ensembles`. n_items: units of the benchmark that count under every member."""


def benchmark_ensembles(one: Scored, resamples: int, settings: Settings) -> pl.DataFrame:
    """A row per ensemble and formula: its figure beside those of its members."""
    rows = [row for ensemble in settings.ensembles(one.study_id) for row in _rows(one, ensemble, resamples)]
    return pl.DataFrame(rows, schema=pl.Schema(BENCHMARK_ENSEMBLES), orient="row").fill_nan(None)


def _rows(one: Scored, ensemble: Ensemble, resamples: int) -> list[Row]:
    begin: Row = {
        "study_id": one.study_id,
        "benchmark": one.items.benchmark,
        "ensemble_id": ensemble.ensemble_id,
        "over": ensemble.over,
        "members": json.dumps(ensemble.members),
        "n_members": len(ensemble.members),
    }
    named = [begin | {"formula": formula.name, "parameters": formula.parameters} for formula in FORMULAS]
    places = [one.reward_ids.index(name) for name in ensemble.members if name in one.reward_ids]
    absent = len(ensemble.members) - len(places)
    if absent:
        reason = f"{absent} of {len(ensemble.members)} members have no rewards here"
        return [row | {"status": reason} for row in named]
    z = z_scores(one.rewards[places])
    if np.isnan(z).all(axis=(1, 2)).any():
        return [row | {"status": NO_SPREAD} for row in named]
    subsets, values = _unit_values(one, np.concatenate([z, [formula.of(z) for formula in FORMULAS]]))
    known = np.isfinite(values[: len(places)])
    if (known.mean(axis=1) < LEAST_SHARE * known.mean(axis=1).max()).any() or not known.all(axis=0).any():
        return [row | {"status": "a member has rewards for too few items"} for row in named]
    kept = np.asarray(known.all(axis=0))
    values, n = values[:, kept], int(kept.sum())
    _, codes = np.unique(subsets[kept].astype(str), return_inverse=True)
    counts = resample_counts(codes, resamples, one.seed)
    halves = half_splits(n, SPLITS, one.seed)
    beside = Beside.of(values[len(places) :], values[: len(places)], np.ones(n), counts, halves)
    sizes: Row = {"n_items": n, "n_items_left_out": len(kept) - n}
    status = {"status": FEW_ITEMS if n < MIN_ITEMS else "ok"}
    return [row | beside.row(place, n) | sizes | status for place, row in enumerate(named)]


def _unit_values(one: Scored, rewards: Floats) -> tuple[Names, Floats]:
    """Subset of each unit, and its value under each reward, (rewards, units)."""
    found = [unit_values(one.items, each, main_only=True) for each in rewards]
    return found[0].subsets, np.stack([each.main_values for each in found])
