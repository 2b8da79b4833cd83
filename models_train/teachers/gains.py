"""What training a policy by a reward gains, per run and over its seeds (definitions, Section 13).

A gain is the mean over prompts of the policy's mean reward less that of the initial policy on the same prompt, divided
by the standard deviation of the reward over the initial policy's responses. Resamples draw seeds, then prompts, with
replacement: seeds are measured on the same prompts, so that one draw of prompts holds for all seeds of a resample, for
all rewards, and for the initial policy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from models_train.selection.item_metrics import Floats
from models_train.selection.item_statistics import Counts, seed_of
from models_train.teachers.best_of_n import over_optimisation
from models_train.teachers.resampling import FEW_PROMPTS, MIN_PROMPTS, ends, prompt_counts, ratios

Row = dict[str, Any]
GROUP = ("study_id", "policy_id", "prompt_set", "reward_id", "method", "gold_id")
RUN, POOLED = "run", "pooled"
NONE = "none"
"""gold_id of runs of a study without gold rewards."""
NO_GOLD = "no gold rewards of these responses"
ONE_SEED = "1 seed: the interval is over prompts alone"
FEW_SEEDS = 3
"""Most seeds for which the plain range is given, too."""
VALUES = ("proxy", "gold", "kl", "length", "share_rewarded")
_FIGURES = ("proxy_gain", "gold_gain", "kl", "length_change")
SCHEMA: Mapping[str, type[pl.DataType]] = {
    **dict.fromkeys(GROUP, pl.String),
    **dict.fromkeys(("scope", "policy_run_id"), pl.String),
    **dict.fromkeys(("seed", "n_seeds", "step"), pl.Int64),
    "share_done": pl.Float64,
    **{f"{name}{end}": pl.Float64 for name in _FIGURES for end in ("", "_low", "_high")},
    **{f"{name}_{end}": pl.Float64 for name in ("proxy_gain", "gold_gain") for end in ("min", "max")},
    **dict.fromkeys(("common_kl", "gold_at_common_kl", "gold_at_common_kl_low", "gold_at_common_kl_high"), pl.Float64),
    **dict.fromkeys(("alpha", "beta", "kl_peak", "gold_peak"), pl.Float64),
    "curve_status": pl.String,
    "share_rewarded": pl.Float64,
    "n_prompts": pl.Int64,
    "seeds": pl.String,
    "status": pl.String,
}
"""Columns of `policy_gains`."""


@dataclass(frozen=True)
class Runs:
    """The runs of one policy, reward and method, measured by one gold reward.

    key: columns of GROUP. run_ids, seeds: of each run. steps, shares: saved steps, the first of them 0. values: by
    name of VALUES, (runs, steps, prompts), NaN where unknown; the gains are in standard deviations. counts: of prompts.
    """

    key: Mapping[str, str | None]
    run_ids: Sequence[str]
    seeds: Sequence[int]
    steps: Sequence[int]
    shares: Sequence[float]
    values: Mapping[str, Floats]
    counts: Counts

    @property
    def n_prompts(self) -> int:
        """Prompts with a reward of every saved policy of every run."""
        return int(self.complete("proxy").sum())

    def complete(self, name: str) -> Any:
        """(prompts,) True where every saved policy of every run has a value."""
        return np.isfinite(self.values[name]).all(axis=(0, 1))

    def resampled(self, name: str) -> Floats:
        """(runs, steps, 1 + resamples) mean over prompts; column 0 is the sample. NaN where there is no prompt."""
        known = self.complete(name)
        values = np.where(known, self.values[name], 0.0)
        sums = values @ self.counts.T.astype(np.float64)
        return ratios(sums, (self.counts @ known.astype(np.float64))[None, None])

    def change(self, name: str) -> Floats:
        """The same, less that of step 0."""
        means = self.resampled(name)
        return means - means[:, :1]


def policy_gains(cells: pl.DataFrame, resamples: int) -> pl.DataFrame:
    """Rows of int_policy_gains. cells: a row per run, gold, saved step and prompt, of int_policy_run_prompts."""
    groups = [runs_of(key, frame, resamples) for key, frame in _grouped(cells)]
    rows: list[Row] = []
    for one in groups:
        rivals = [other for other in groups if _rival(other) == _rival(one)]
        rows += list(_rows(one, common_kl(rivals), resamples))
    return pl.DataFrame(rows, schema=pl.Schema(SCHEMA), orient="row").fill_nan(None)


def _grouped(cells: pl.DataFrame) -> Iterator[tuple[dict[str, Any], pl.DataFrame]]:
    ordered = cells.with_columns(pl.col("gold_id").fill_null(NONE)).sort(*GROUP, "seed", "step", "prompt_id")
    for names, frame in ordered.group_by(*GROUP, maintain_order=True):
        yield dict(zip(GROUP, names, strict=True)), frame


def _rival(one: Runs) -> tuple[Any, ...]:
    """What runs are compared at equal distance."""
    return tuple(one.key[name] for name in GROUP if name != "reward_id")


def runs_of(key: Mapping[str, Any], frame: pl.DataFrame, resamples: int) -> Runs:
    """Runs from their rows, sorted by seed, step and prompt.

    The draws of prompts are those of policy and prompt set, whatever the reward.
    """
    runs = frame.select("policy_run_id", "seed").unique(maintain_order=True)
    saved = frame.select("share_done", "step").unique().sort("share_done")
    prompts = frame["prompt_id"].unique().sort()
    shape = runs.height, saved.height, len(prompts)
    places = [
        frame.select(pl.col(column).replace_strict(old, list(range(len(old))), return_dtype=pl.Int64))[
            column
        ].to_numpy()
        for column, old in (
            ("policy_run_id", runs["policy_run_id"].to_list()),
            ("share_done", saved["share_done"].to_list()),
            ("prompt_id", prompts.to_list()),
        )
    ]
    values = {}
    for name in VALUES:
        values[name] = np.full(shape, np.nan)
        values[name][tuple(places)] = frame[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    counts = prompt_counts(
        len(prompts), resamples, seed_of(*(str(key[name]) for name in ("study_id", "policy_id", "prompt_set")))
    )
    return Runs(
        key, runs["policy_run_id"].to_list(), runs["seed"].to_list(), saved["step"].to_list(),
        saved["share_done"].to_list(), values, counts,
    )  # fmt: skip


def common_kl(rivals: Sequence[Runs]) -> float:
    """The largest distance that every run of the rewards compared came to, in nats; 0 where one did not move away."""
    largest = [one.resampled("kl")[:, :, 0].max(axis=1) for one in rivals]
    return max(0.0, float(np.min(np.concatenate(largest)))) if largest else 0.0


def at_distance(kl: Floats, gains: Floats, wanted: float) -> Floats:
    """(n,) gains at a distance, interpolated between saved steps. kl, gains: (steps, n), the first step at 0.

    Estimates of the KL divergence may fall below 0: they count as 0.
    """
    distances = np.maximum(kl, 0.0)
    order = np.argsort(distances, axis=0, kind="stable")
    x, y = np.take_along_axis(distances, order, axis=0), np.take_along_axis(gains, order, axis=0)
    return np.array([np.interp(wanted, x[:, place], y[:, place]) for place in range(x.shape[1])])


def _rows(one: Runs, distance: float, resamples: int) -> Iterator[Row]:
    """Rows of each run, and of all of them together, per saved step after the first."""
    series = {
        "proxy_gain": one.change("proxy"),
        "gold_gain": one.change("gold"),
        "kl": one.resampled("kl"),
        "length_change": one.change("length"),
    }
    at_kl = np.stack(
        [at_distance(series["kl"][run], series["gold_gain"][run], distance) for run in range(len(one.seeds))]
    )
    drawn = seed_draws(len(one.seeds), resamples, seed_of(*map(str, one.key.values())))
    rewarded = np.nanmean(one.values["share_rewarded"], axis=2)
    for place, share in enumerate(one.shares):
        if share == 0:
            continue
        at_step = {name: values[:, place] for name, values in series.items()} | {"gold_at_common_kl": at_kl}
        shown = {"share_done": share, "common_kl": distance, "step": one.steps[place]}
        for run, seed in enumerate(one.seeds):
            own = {name: values[run] for name, values in at_step.items()}
            curve = {name: series[name][run, :, 0] for name in ("kl", "gold_gain")}
            identity = {"scope": RUN, "policy_run_id": one.run_ids[run], "seed": seed, "n_seeds": 1}
            yield _row(one, own, curve, 1) | shown | identity | {"share_rewarded": float(rewarded[run, place])}
        pooled = {name: pooled_over_seeds(values, drawn) for name, values in at_step.items()}
        curve = {name: series[name][:, :, 0].mean(axis=0) for name in ("kl", "gold_gain")}
        identity = {"scope": POOLED, "policy_run_id": POOLED, "seed": None, "n_seeds": len(one.seeds)}
        extremes = _extremes(at_step) if 1 < len(one.seeds) <= FEW_SEEDS else {}
        share_rewarded = {"share_rewarded": float(rewarded[:, place].mean())}
        yield _row(one, pooled, curve, len(one.seeds)) | shown | identity | extremes | share_rewarded


def seed_draws(n_seeds: int, resamples: int, seed: int) -> Floats:
    """(1 + resamples, seeds) share of each seed in the sample (row 0: equal shares) and in every resample."""
    drawn = np.random.default_rng(seed).multinomial(n_seeds, [1 / n_seeds] * n_seeds, size=resamples)
    return np.concatenate([np.ones((1, n_seeds)), drawn]) / n_seeds


def pooled_over_seeds(values: Floats, drawn: Floats) -> Floats:
    """(1 + resamples,) mean over the seeds of each resample. values: (seeds, 1 + resamples); drawn: `seed_draws`."""
    return np.asarray((values * drawn.T).sum(axis=0))


def _extremes(at_step: Mapping[str, Floats]) -> Row:
    found = {}
    for name in ("proxy_gain", "gold_gain"):
        found[f"{name}_min"], found[f"{name}_max"] = float(at_step[name][:, 0].min()), float(at_step[name][:, 0].max())
    return found


def _row(one: Runs, figures: Mapping[str, Floats], curve: Mapping[str, Floats], n_seeds: int) -> Row:
    """A row without scope. figures: (1 + resamples,) by name. curve: (steps,) kl and gold_gain."""
    row: Row = dict.fromkeys(SCHEMA)
    row |= dict(one.key) | {"n_prompts": one.n_prompts}
    for name, values in figures.items():
        # The sample's own figure, and an interval where there are prompts enough.
        row[name] = float(values[0])
        low, high = ends(values, one.n_prompts)
        row[f"{name}_low"], row[f"{name}_high"] = float(low), float(high)
    has_gold = bool(np.isfinite(row["gold_gain"]))
    if has_gold:
        fitted = over_optimisation(np.sqrt(np.maximum(curve["kl"], 0.0)), curve["gold_gain"], "rl")
        row |= {name: getattr(fitted, name) for name in ("alpha", "beta", "kl_peak", "gold_peak")}
        row["curve_status"] = fitted.status
    row["seeds"] = "1 seed" if n_seeds == 1 else f"{n_seeds} seeds"
    few = FEW_PROMPTS if one.n_prompts < MIN_PROMPTS else None
    row["status"] = few or (None if has_gold else NO_GOLD) or (ONE_SEED if n_seeds == 1 else "ok")
    return row


DIFFERENCES: Mapping[str, type[pl.DataType]] = {
    **dict.fromkeys(("study_id", "policy_id", "prompt_set", "method", "gold_id", "reward_id"), pl.String),
    **dict.fromkeys(("gold_gain", "difference", "difference_low", "difference_high"), pl.Float64),
    **dict.fromkeys(("n_seeds", "n_prompts"), pl.Int64),
}
"""Columns of `gains_less_gold`."""


def gains_less_gold(cells: pl.DataFrame, resamples: int) -> pl.DataFrame:
    """Gold gains at the end of runs less those of runs that the gold reward itself taught: by policy and method.

    Paired: the same seeds, draws of seeds, and prompts. gold_gain: of the gold reward.
    """
    groups = [runs_of(key, frame, resamples) for key, frame in _grouped(cells)]
    taught = {_rival(one): one for one in groups if one.key["reward_id"] == one.key["gold_id"]}
    pairs = [(one, taught[_rival(one)]) for one in groups if _rival(one) in taught and one is not taught[_rival(one)]]
    rows = [_difference(one, gold, resamples) for one, gold in pairs if set(one.seeds) & set(gold.seeds)]
    return pl.DataFrame(rows, schema=pl.Schema(DIFFERENCES), orient="row").fill_nan(None)


def _difference(one: Runs, gold: Runs, resamples: int) -> Row:
    shared = sorted(set(one.seeds) & set(gold.seeds))
    own, true = (each.change("gold")[[each.seeds.index(seed) for seed in shared], -1] for each in (one, gold))
    drawn = seed_draws(len(shared), resamples, seed_of(*map(str, _rival(one))))
    difference = pooled_over_seeds(own - true, drawn)
    n_prompts = int(min(one.complete("gold").sum(), gold.complete("gold").sum()))
    low, high = ends(difference, n_prompts)
    return dict(one.key) | {
        "gold_gain": float(true[:, 0].mean()),
        "difference": float(difference[0]),
        "difference_low": float(low),
        "difference_high": float(high),
        "n_seeds": len(shared),
        "n_prompts": n_prompts,
    }
