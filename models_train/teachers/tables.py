"""Tables of rewards on the responses of policies: what dbt's Python models write (definitions, Section 13)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from models_train.selection.item_metrics import Floats
from models_train.selection.item_statistics import Counts
from models_train.teachers import uncertainty
from models_train.teachers.arrays import Compared, comparisons
from models_train.teachers.best_of_n import (
    curves,
    fit,
    kl_bound,
    over_optimisation,
    sizes_up_to,
    statuses,
)
from models_train.teachers.ensembles import FORMULAS, Ensemble, Source, ensembles_of
from models_train.teachers.properties import (
    means_and_deviations,
    pair_sums,
    prompt_variances,
    resampled_length_correlations,
    resampled_variances,
    tied_shares,
    z_scores,
)
from models_train.teachers.resampling import (
    FEW_PROMPTS,
    MIN_PROMPTS,
    SPLITS,
    ends,
    half_splits,
    over_the_chosen,
    ratios,
    resampled_ratios,
)

Schema = Mapping[str, type[pl.DataType]]
Row = dict[str, Any]

NO_SPREAD = "the rewards do not vary"
NO_GOLD = "no two responses to a prompt differ under the gold reward"
CHANCE = "chance"
BEST_OF = (1, 2, 4, 8, 16)
"""Sizes n that are listed where a study states none; the whole pool is listed, too."""
KEY: Schema = dict.fromkeys(("study_id", "reward_id", "policy_id", "prompt_set", "gold_id"), pl.String)


@dataclass(frozen=True)
class Settings:
    """What studies ask for, by study: sizes n, ensembles (over, and members or None), and what rewards are made of."""

    best_of: Mapping[str, Sequence[int]]
    asked: Mapping[str, Sequence[Mapping[str, Any]]]
    sources: Mapping[str, Sequence[Source]]

    @classmethod
    def of(cls, settings: pl.DataFrame, sources: pl.DataFrame | None = None) -> Settings:
        """settings: study_id, setting, value as JSON; sources: the columns of `Source` and study_id."""
        values: dict[str, dict[str, Any]] = {"best_of": {}, "ensembles": {}}
        for study_id, name, value in settings.select("study_id", "setting", "value").iter_rows():
            values[name][study_id] = json.loads(value)
        made: dict[str, list[Source]] = {}
        columns = [column.name for column in fields(Source)]
        for study_id, *facts in [] if sources is None else sources.select("study_id", *columns).iter_rows():
            made.setdefault(study_id, []).append(Source(*facts))
        return cls(values["best_of"], values["ensembles"], made)

    def sizes(self, one: Compared) -> Sequence[int]:
        """Sizes n of best of n."""
        return self.best_of.get(one.study_id, BEST_OF)

    def ensembles(self, one: Compared) -> list[Ensemble]:
        """Ensembles of a study; the gold reward is in none that the study does not name it for."""
        found: list[Ensemble] = []
        mine = [source for source in self.sources.get(one.study_id, ()) if source.reward_id != one.gold_id]
        for asked in self.asked.get(one.study_id, ()):
            if members := asked.get("members"):
                found.append(Ensemble(asked["over"], "+".join(sorted(members)), tuple(sorted(members))))
            else:
                found += [ensemble for ensemble in ensembles_of(mine) if ensemble.over == asked["over"]]
        return list(dict.fromkeys(found))


def over_comparisons(
    make: Callable[[Compared], Iterable[Row]],
    schema: Schema,
    cells: pl.DataFrame,
    arrays: pl.DataFrame,
    golds: pl.DataFrame,
) -> pl.DataFrame:
    """The rows of every policy, prompt set and gold, by one thread: dbt runs two models at once.

    make: rows of one comparison, with columns of the schema. The frames are those of `comparisons`.
    """
    with threadpool_limits(1):
        frames = [
            pl.DataFrame(list(make(one)), schema=pl.Schema(schema), orient="row")
            for one in comparisons(cells, arrays, golds)
        ]
    return pl.concat([pl.DataFrame(schema=pl.Schema(schema)), *frames]).fill_nan(None)


def _status(n_prompts: int, *reasons: str | None) -> str:
    """The first reason; else ok, or that there is no interval."""
    return next((reason for reason in reasons if reason), FEW_PROMPTS if n_prompts < MIN_PROMPTS else "ok")


PROPERTIES = {
    **KEY,
    "is_gold": pl.Boolean,
    **dict.fromkeys(("n_prompts", "n_prompts_left_out", "n_responses"), pl.Int64),
    **dict.fromkeys(("reward_mean", "reward_std"), pl.Float64),
    **dict.fromkeys(("reward_variance", "reward_variance_low", "reward_variance_high"), pl.Float64),
    **dict.fromkeys([f"variance_{name}" for name in ("min", "q25", "median", "q75", "max")], pl.Float64),
    **dict.fromkeys(("within_variance_raw", "within_variance_low", "within_variance_high"), pl.Float64),
    **dict.fromkeys(("between_variance_raw", "share_without_spread", "share_tied"), pl.Float64),
    **dict.fromkeys(
        (
            f"on_policy_accuracy{rule}{end}" for rule in ("", "_strict", "_half") for end in ("", "_low", "_high")
        ),
        pl.Float64,
    ),
    "n_informative_pairs": pl.Int64,
    **dict.fromkeys([f"length_correlation{end}" for end in ("", "_low", "_high")], pl.Float64),
    "status": pl.String,
}  # fmt: skip
"""Columns of `teacher_properties`."""


def teacher_properties(one: Compared, resamples: int) -> list[Row]:
    """One row per reward: spread, accuracy and length, with intervals over prompts."""
    rows: list[Row] = [
        _left_out(one, reward_id, reason) | {"is_gold": reward_id == one.gold_id}
        for reward_id, reason in one.left_out.items()
    ]
    if not one.reward_ids:
        return rows
    counts = one.counts(resamples)
    variances, pairs = resampled_variances(one.rewards, counts), pair_sums(one.rewards, one.gold)
    means, deviations = means_and_deviations(one.rewards)
    by_prompt = prompt_variances(one.rewards)
    whitened = ratios(by_prompt, deviations[:, None] ** 2)
    figures = {
        **_with_ends("reward_variance", variances["reward_variance"], one),
        **_with_ends("within_variance_raw", variances["within_variance_raw"], one, "within_variance"),
        "between_variance_raw": variances["between_variance_raw"][:, 0],
        **_with_ends("length_correlation", resampled_length_correlations(one.rewards, one.lengths, counts), one),
    }
    for name, (values, weights) in pairs.accuracies.items():
        figures |= _with_ends(name, resampled_ratios(values, weights, counts), one)
    quantiles = np.quantile(whitened, [0, 0.25, 0.5, 0.75, 1], axis=1)
    figures |= dict(zip((f"variance_{end}" for end in ("min", "q25", "median", "q75", "max")), quantiles, strict=True))
    figures |= {
        "reward_mean": means,
        "reward_std": deviations,
        "share_without_spread": (by_prompt == 0).mean(axis=1),
        "share_tied": tied_shares(one.rewards),
    }
    shared = _sizes(one) | {"n_informative_pairs": int(pairs.n_informative.sum())}
    for place, reward_id in enumerate(one.reward_ids):
        flat = NO_SPREAD if deviations[place] == 0 else None
        status = _status(one.n_prompts, flat, None if pairs.n_informative.any() else NO_GOLD)
        own = {name: float(values[place]) for name, values in figures.items()}
        rows.append(_begin(one, reward_id) | shared | own | {"is_gold": reward_id == one.gold_id, "status": status})
    return rows


def _begin(one: Compared, reward_id: str) -> Row:
    return one.key | {"reward_id": reward_id}


def _sizes(one: Compared) -> Row:
    return {
        "n_prompts": one.n_prompts,
        "n_prompts_left_out": one.n_prompts_left_out,
        "n_responses": one.n_responses,
    }


def _left_out(one: Compared, reward_id: str, reason: str) -> Row:
    sizes = {"n_prompts": 0, "n_prompts_left_out": one.n_prompts + one.n_prompts_left_out, "n_responses": 0}
    return _begin(one, reward_id) | sizes | {"status": reason}


def _with_ends(name: str, resampled: Floats, one: Compared, stem: str = "") -> dict[str, Floats]:
    low, high = ends(resampled, one.n_prompts)
    return {name: resampled[..., 0], f"{stem or name}_low": low, f"{stem or name}_high": high}


@dataclass(frozen=True)
class _Resampled:
    """Best-of-n curves in every resample: (rewards, sizes, 1 + resamples). gains: over one random response."""

    sizes: list[int]
    proxy: Floats
    gold: Floats
    proxy_gain: Floats
    gold_gain: Floats

    @classmethod
    def of(cls, one: Compared, counts: Counts, sizes: Sequence[int]) -> _Resampled:
        found = curves(one.rewards, one.gold, sizes)
        parts = found.proxy, found.gold, found.gains("proxy"), found.gains("gold")
        return cls(found.sizes, *(_means(values, counts) for values in parts))


def _means(values: Floats, counts: Counts) -> Floats:
    """Means over prompts: (rewards, sizes, 1 + resamples). values: (rewards, prompts, sizes)."""
    flat = np.moveaxis(values, 2, 1).reshape(-1, values.shape[1])
    return resampled_ratios(flat, np.ones(values.shape[1]), counts).reshape(len(values), values.shape[2], -1)


BEST_OF_N = {
    **KEY,
    "selection": pl.String,
    **dict.fromkeys(("n", "n_pool", "n_prompts", "n_prompts_left_out", "n_responses"), pl.Int64),
    **dict.fromkeys(("proxy", "gold", "proxy_gain", "gold_gain", "low", "high", "kl_bound"), pl.Float64),
    **dict.fromkeys(("headroom_share", "headroom_low", "headroom_high"), pl.Float64),
    **dict.fromkeys(("proxy_gain_sd", "gold_gain_sd", "proxy_gold_gap", "gap_low", "gap_high"), pl.Float64),
    **dict.fromkeys(("behind_best", "behind_best_low", "behind_best_high"), pl.Float64),
    "is_small_pool": pl.Boolean,
    "status": pl.String,
}
"""Columns of `best_of_n`. selection: reward, oracle (the gold reward itself), or chance."""


def best_of_n(every: Compared, resamples: int, settings: Settings) -> list[Row]:
    """One row per reward and n of what choosing the best of n responses gains, and a row of chance for each n."""
    one = every.with_full_pools
    rows: list[Row] = [
        _left_out(one, reward_id, reason) | {"selection": _selection(one, reward_id), "n": 1, "n_pool": 0}
        for reward_id, reason in one.left_out.items()
    ]
    if one.gold_id not in one.reward_ids:
        return rows
    counts = one.counts(resamples)
    found = _Resampled.of(one, counts, [*(n for n in settings.sizes(one) if n <= one.n_pool), one.n_pool])
    deviations = np.sqrt(resampled_variances(one.rewards, counts)["total"])[:, None]
    oracle = one.reward_ids.index(one.gold_id)
    no_gold = None if prompt_variances(one.gold[None]).any() else NO_GOLD
    proxy_sd, gold_sd = ratios(found.proxy_gain, deviations), ratios(found.gold_gain, deviations[oracle])
    figures = {
        "proxy": found.proxy[..., 0],
        "gold": found.gold[..., 0],
        "proxy_gain": found.proxy_gain[..., 0],
        "proxy_gain_sd": proxy_sd[..., 0],
        "gold_gain_sd": gold_sd[..., 0],
    }
    with_ends = {
        ("gold_gain", ""): found.gold_gain,
        ("headroom_share", "headroom_"): ratios(found.gold_gain, np.maximum(found.gold_gain[oracle], 0)),
        ("proxy_gold_gap", "gap_"): proxy_sd - gold_sd,
        ("behind_best", "behind_best_"): _behind_best(found.gold_gain, oracle),
    }
    for (name, stem), values in with_ends.items():
        low, high = ends(values, one.n_prompts)
        figures |= {name: values[..., 0], f"{stem}low": low, f"{stem}high": high}
    for place, n in enumerate(found.sizes):
        own = _sizes(one) | {
            "n": n,
            "n_pool": one.n_pool,
            "kl_bound": float(kl_bound(n)),
            "is_small_pool": one.n_pool < 2 * n,
        }
        for reward, reward_id in enumerate(one.reward_ids):
            flat = None if deviations[reward, 0, 0] > 0 else NO_SPREAD
            named = {"selection": _selection(one, reward_id), "status": _status(one.n_prompts, flat, no_gold)}
            filled = {name: float(values[reward, place]) for name, values in figures.items()}
            rows.append(_begin(one, reward_id) | own | filled | named)
        chance = {"selection": CHANCE, "gold": float(found.gold[oracle, 0, 0]), "gold_gain": 0.0, "status": "ok"}
        rows.append(_begin(one, CHANCE) | own | chance)
    return rows


def _behind_best(gains: Floats, oracle: int) -> Floats:
    """Gain of the best reward model at each n, the gold aside, minus that of each: (rewards, sizes, 1 + resamples)."""
    others = np.delete(np.arange(len(gains)), oracle)
    if not others.size:
        return np.full(gains.shape, np.nan)
    best = others[gains[others, :, 0].argmax(axis=0)]
    behind = np.stack([gains[reward, place] for place, reward in enumerate(best)]) - gains
    behind[oracle] = np.nan
    return behind


def _selection(one: Compared, reward_id: str) -> str:
    return "oracle" if reward_id == one.gold_id else "reward"


OVEROPTIMISATION = {
    **KEY,
    "method": pl.String,
    **dict.fromkeys(("alpha", "alpha_low", "alpha_high", "beta", "beta_low", "beta_high"), pl.Float64),
    **dict.fromkeys(("d_peak", "kl_peak", "n_peak", "gold_peak", "gold_at_largest", "drop_after_peak"), pl.Float64),
    "rmse": pl.Float64,
    **dict.fromkeys(("n_points", "n_prompts", "n_prompts_left_out", "n_responses"), pl.Int64),
    "status": pl.String,
    "share_of_resamples": pl.Float64,
    "interval_status": pl.String,
}
"""Columns of `overoptimisation`. share_of_resamples: those with the same status."""


def overoptimisation(every: Compared, resamples: int) -> list[Row]:
    """One row per reward with the fit of gold against the distance of best of n, over all n from 2."""
    one = every.with_full_pools
    rows: list[Row] = [
        _left_out(one, reward_id, reason) | {"method": "best_of_n", "n_points": 0, "interval_status": reason}
        for reward_id, reason in one.left_out.items()
    ]
    if not one.reward_ids:
        return rows
    found = _Resampled.of(one, one.counts(resamples), sizes_up_to(one.n_pool))
    d = np.sqrt(kl_bound(found.sizes[1:]))
    deviations = means_and_deviations(one.rewards)[1]
    for place, reward_id in enumerate(one.reward_ids):
        gains = found.gold_gain[place, 1:].T
        row = _begin(one, reward_id) | _sizes(one) | {"method": "best_of_n"}
        row |= asdict(over_optimisation(d, gains[0], "best_of_n"))
        row |= _fit_intervals(d, gains, row, one.n_prompts)
        rows.append(row | ({"status": NO_SPREAD} if deviations[place] == 0 else {}))
    return rows


def _fit_intervals(d: Floats, gains: Floats, row: Row, n_prompts: int) -> Row:
    """Intervals by refitting the curve of every resample. gains: (1 + resamples, points)."""
    if row["alpha"] is None:
        return {"interval_status": row["status"]}
    low, high = ends(fit(d, gains, "best_of_n").T, n_prompts)
    found: Row = {"alpha_low": low[0], "alpha_high": high[0], "beta_low": low[1], "beta_high": high[1]}
    if len(gains) > 1 and n_prompts >= MIN_PROMPTS:
        found["share_of_resamples"] = float((statuses(d, gains[1:], "best_of_n") == row["status"]).mean())
    return found | {"interval_status": _status(n_prompts)}


ENSEMBLES = {
    **dict.fromkeys(("study_id", "ensemble_id", "over", "formula", "parameters", "members"), pl.String),
    **dict.fromkeys(("policy_id", "prompt_set", "gold_id", "metric"), pl.String),
    **dict.fromkeys(("n_members", "n_best_of", "n_prompts", "n_prompts_left_out"), pl.Int64),
    **dict.fromkeys(("value", "low", "high", "best_member_value", "mean_member_value"), pl.Float64),
    **dict.fromkeys(("difference_to_mean", "difference_to_mean_low", "difference_to_mean_high"), pl.Float64),
    **dict.fromkeys(("difference_to_best", "difference_to_best_low", "difference_to_best_high"), pl.Float64),
    "status": pl.String,
}
"""Columns of `ensemble_rows`; members as JSON."""


def ensemble_rows(one: Compared, resamples: int, settings: Settings) -> list[Row]:
    """A row per ensemble, formula and metric: accuracies and the gold gain of best of n, beside the members'."""
    rows: list[Row] = []
    counts = one.counts(resamples)
    halves = half_splits(one.n_prompts, SPLITS, one.seed)
    n_best = max((n for n in (*settings.sizes(one), 1) if n <= one.n_pool), default=1)
    z = z_scores(one.rewards)
    for ensemble in settings.ensembles(one):
        places = [one.reward_ids.index(name) for name in ensemble.members if name in one.reward_ids]
        begin = one.key | {
            "ensemble_id": ensemble.ensemble_id, "over": ensemble.over, "members": json.dumps(ensemble.members),
            "n_members": len(ensemble.members), "n_prompts": one.n_prompts, "n_best_of": n_best,
            "n_prompts_left_out": one.n_prompts_left_out,
        }  # fmt: skip
        absent = len(ensemble.members) - len(places)
        flat = [name for name, place in zip(ensemble.members, places, strict=False) if np.isnan(z[place]).all()]
        if absent or flat:
            reason = f"{absent} of {len(ensemble.members)} members have no rewards here" if absent else NO_SPREAD
            for formula in FORMULAS:
                named = {"formula": formula.name, "parameters": formula.parameters}
                rows += [begin | named | {"metric": metric, "status": reason} for metric in METRICS]
            continue
        members = z[places]
        together = np.stack([formula.of(members) for formula in FORMULAS])
        values = _metric_values(np.concatenate([members, together]), one.gold, n_best)
        for metric, (found, weights) in values.items():
            own = _Beside.of(found[len(places) :], found[: len(places)], weights, counts, halves)
            for place, formula in enumerate(FORMULAS):
                named = {"formula": formula.name, "parameters": formula.parameters, "metric": metric}
                rows.append(begin | named | own.row(place, one.n_prompts) | {"status": _status(one.n_prompts)})
    return rows


METRICS = ("on_policy_accuracy", "on_policy_accuracy_strict", "gold_gain")


def _metric_values(rewards: Floats, gold: Floats, n: int) -> dict[str, tuple[Floats, Floats]]:
    """name -> values (rewards, prompts) and weights (prompts,) of the metrics of ensembles."""
    accuracies = pair_sums(rewards, gold).accuracies
    gains = curves(rewards, gold, [n]).gains("gold")[..., -1]
    is_there = ~np.isnan(gains[0])
    found = {name: accuracies[name] for name in METRICS if name in accuracies}
    return found | {"gold_gain": (np.nan_to_num(gains), is_there.astype(float))}


@dataclass(frozen=True)
class _Beside:
    """Figures of ensembles beside their members, (ensembles, 1 + resamples) each, and the best member's of all."""

    value: Floats
    to_mean: Floats
    to_best: Floats
    mean_member: float
    best_member: float

    @classmethod
    def of(cls, own: Floats, members: Floats, weights: Floats, counts: Counts, halves: Any) -> _Beside:
        value, each = (resampled_ratios(side, weights, counts) for side in (own, members))
        mean = each.mean(axis=0)
        chosen = over_the_chosen(own, members, weights, counts, halves)
        return cls(value, value - mean, chosen, float(mean[0]), float(each[:, 0].max()))

    def row(self, place: int, n_prompts: int) -> Row:
        found: Row = {"best_member_value": self.best_member, "mean_member_value": self.mean_member}
        for stem, values in (
            ("", self.value),
            ("difference_to_mean", self.to_mean),
            ("difference_to_best", self.to_best),
        ):
            low, high = ends(values[place], n_prompts)
            names = (stem, f"{stem}_low", f"{stem}_high") if stem else ("value", "low", "high")
            found |= dict(zip(names, (float(values[place, 0]), float(low), float(high)), strict=True))
        return found


_WITH_ENDS = ("accuracy", "ece", "mce", "brier", "aurc", "accuracy_at_50", "accuracy_at_80")
UNCERTAINTY = {
    **KEY,
    "over": pl.String,
    "n_members": pl.Int64,
    "ddof": pl.Int64,
    "unit": pl.String,
    **dict.fromkeys(("n_prompts", "n_prompts_left_out", "n_pairs"), pl.Int64),
    **dict.fromkeys([f"{name}{end}" for name in _WITH_ENDS for end in ("", "_low", "_high")], pl.Float64),
    **dict.fromkeys(
        [f"{part}_{which}" for part in ("confident", "unconfident") for which in ("true", "false")], pl.Float64
    ),
    **dict.fromkeys(("ranking_0", "ranking_001", "ranking_02", "ranking_1"), pl.Float64),
    "status": pl.String,
}
"""Columns of `reward_uncertainty`. reward_id: a reward model, or an ensemble by its mean."""

NO_PROBABILITIES = "its rewards are no log-odds: no probabilities"


def reward_uncertainty(one: Compared, resamples: int, settings: Settings) -> list[Row]:
    """One row per reward model whose rewards are log-odds, and one per ensemble, over pairs that the gold orders."""
    if not one.reward_ids:
        return []
    scales = {source.reward_id: source.scale for source in settings.sources.get(one.study_id, ())}
    pairs, counts = uncertainty.gold_pairs(one.gold), one.counts(resamples)
    ensembles = settings.ensembles(one)
    # An ensemble that teaches has rewards of its own, which say less than its members.
    others = {one.gold_id, *(group.ensemble_id for group in ensembles)}
    alone = [
        ("", name, (name,)) for name in one.reward_ids if name not in others and scales.get(name, "logit") == "logit"
    ]
    groups = [*alone, *((group.over, group.ensemble_id, group.members) for group in ensembles)]
    rows = []
    for over, name, members in groups:
        if not set(members) <= set(one.reward_ids):
            continue
        is_logit = all(scales.get(member, "logit") == "logit" for member in members)
        values = one.rewards[[one.reward_ids.index(member) for member in members]]
        values = values if is_logit else z_scores(values)
        begin = _begin(one, name) | {
            "over": over or None, "n_members": len(members), "ddof": 1 if len(members) > 1 else None,
            "unit": "log-odds" if is_logit else "standard deviations", "n_prompts": one.n_prompts,
            "n_prompts_left_out": one.n_prompts_left_out, "n_pairs": int(pairs.prompt.size),
        }  # fmt: skip
        if not pairs.prompt.size or np.isnan(values[:, ~np.isnan(one.gold)]).any():
            reason = NO_SPREAD if pairs.prompt.size else NO_GOLD
            rows.append(begin | {"status": reason})
            continue
        chosen, rejected = (values[:, pairs.prompt, side] for side in (pairs.better, pairs.worse))
        figures = _uncertainty_figures(chosen, rejected, pairs, one.n_prompts, counts, is_logit)
        status = _status(one.n_prompts, None if is_logit else NO_PROBABILITIES)
        rows.append(begin | _filled(figures, one.n_prompts) | {"status": status})
    return rows


def _uncertainty_figures(
    chosen: Floats, rejected: Floats, pairs: uncertainty.Pairs, n_prompts: int, counts: Counts, is_logit: bool
) -> dict[str, Floats]:
    margins = chosen - rejected
    mean = margins.mean(axis=0)
    won, number = (np.bincount(pairs.prompt, values, n_prompts).astype(float) for values in (mean > 0, None))
    figures = {"accuracy": resampled_ratios(won[None], number, counts)[0]}
    if is_logit:
        figures |= uncertainty.calibration(uncertainty.calibration_sums(mean, pairs, n_prompts), counts)
    if len(margins) > 1:
        figures |= uncertainty.confidence(uncertainty.confidence_sums(chosen, rejected, pairs, n_prompts), counts)
        figures |= uncertainty.coverage(margins, pairs, n_prompts, counts)
    return figures


def _filled(figures: Mapping[str, Floats], n_prompts: int) -> Row:
    row: Row = {}
    for name, values in figures.items():
        column = name.replace(".", "")
        row[column] = float(values[0])
        if f"{column}_low" in UNCERTAINTY:
            low, high = ends(values, n_prompts)
            row |= {f"{column}_low": float(low), f"{column}_high": float(high)}
    return row
