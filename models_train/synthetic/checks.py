"""Estimates compared with the truth of a lab: pure functions for dbt's Python models. Imports no torch.

Rank checks: do scores of documents reflect the mixes of the pre-training text? Scores come in the direction in which 1
is always good: the more a model saw of a domain, the higher (bits per byte with its sign turned). The baseline is size:
log10 of the parameters in place of the score. Search checks: merge vectors against the weights behind the preferences,
and the chosen learning rate against the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl
from scipy.spatial.distance import jensenshannon

from models_train.data.records import ATTRIBUTES
from models_train.reward_models.merge_vector import N_LEVELS
from models_train.synthetic.resampling import (
    MIN_MODELS,
    Floats,
    draws,
    interval,
    median,
    pair_weights,
    partial_rank_correlation,
    rank_correlation,
)

SCHEMA: dict[str, Any] = {
    "check_name": pl.String,
    "domain": pl.String,
    "score_kind": pl.String,
    "compared_with": pl.String,
    "objective": pl.String,
    "model_id": pl.String,
    "statistic": pl.String,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "baseline": pl.Float64,
    "baseline_name": pl.String,
    "n": pl.Int64,
    "reason": pl.String,
}
ALL = "all"
"""Name for the documents of every domain together."""
SIZE = "log10_parameters"
TOO_FEW = "fewer than 4 pre-trained models have the values needed"
NO_SPREAD = "one side is the same for all models"


@dataclass(frozen=True)
class Check:
    """One figure compared with the truth: value, interval, baseline, and number of models or pairs.

    A missing value has a reason. Fields that do not apply (domain, score_kind, ...) are None.
    """

    check_name: str
    statistic: str
    n: int
    value: float | None = None
    low: float | None = None
    high: float | None = None
    baseline: float | None = None
    baseline_name: str | None = None
    domain: str | None = None
    score_kind: str | None = None
    compared_with: str | None = None
    objective: str | None = None
    model_id: str | None = None
    reason: str | None = None


def estimated(
    statistic: Callable[[Floats], Floats],
    weights: Floats,
    baseline: Callable[[Floats], Floats] | float | None,
    enough: bool,
) -> dict[str, Any]:
    """Value, interval and baseline of a statistic, as fields of a Check.

    statistic: from weights (resamples, n) to (resamples,); weights: those of the resamples. enough: whether there are
    models enough to say anything.
    """
    if not enough:
        return {"reason": TOO_FEW}
    sample = np.ones((1, weights.shape[1]))
    compared = _number(baseline(sample)[0]) if callable(baseline) else baseline
    value = _number(statistic(sample)[0])
    if value is None:
        return {"reason": NO_SPREAD, "baseline": compared}
    low, high = interval(statistic(weights)) or (None, None)
    return {"value": value, "low": low, "high": high, "baseline": compared}


def frame(checks: list[Check]) -> pl.DataFrame:
    """The checks as rows of `SCHEMA`."""
    return pl.DataFrame([asdict(check) for check in checks], schema=SCHEMA)


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


DOMAIN_SHARE, MIX_DISTANCE = "domain_share", "mix_distance"
_DIGITS = 6
"""Distances are rounded to this many digits: equal ones must be ties, and the roots of rounding errors are 1e-9."""


@dataclass(frozen=True)
class Models:
    """The scored models of a lab, in one order, and how often each is drawn in every resample.

    pretrained: (models,), the pre-trained model that each comes from; shares: (models, domains), the true mixes; size:
    (models,), log10 of the parameters; weights: (resamples, models).
    """

    pretrained: Sequence[str]
    domains: Sequence[str]
    shares: Floats
    size: Floats
    weights: Floats


@dataclass(frozen=True)
class _Items:
    """Ranked items, models or pairs: the truth, its scores by kind (size is one), and the resamples.

    truths: per stratum (items,); scores: per stratum and kind (items,), NaN where there is none; weights: (resamples,
    items); owners: the pre-trained models behind each item. A statistic is its mean over the strata.
    """

    truths: Sequence[Floats]
    scores: Sequence[Mapping[str, Floats]]
    weights: Floats
    owners: Sequence[frozenset[str]]

    def having(self, kinds: Sequence[str]) -> _Items:
        """Those items that have a score of each of these kinds in every stratum."""
        known = np.ones(len(self.owners), dtype=bool)
        for scores in self.scores:
            for kind in kinds:
                known &= ~np.isnan(scores[kind])
        return _Items(
            truths=[truth[known] for truth in self.truths],
            scores=[{kind: values[known] for kind, values in scores.items()} for scores in self.scores],
            weights=self.weights[:, known],
            owners=[owner for owner, kept in zip(self.owners, known, strict=True) if kept],
        )

    @property
    def n(self) -> int:
        return len(self.owners)

    @property
    def enough(self) -> bool:
        return len(frozenset().union(*self.owners)) >= MIN_MODELS

    def spearman(self, kind: str) -> Callable[[Floats], Floats]:
        """Correlation of a kind of score with the truth, as a function of the weights."""
        return lambda weights: np.mean(
            [rank_correlation(s[kind], t, weights) for s, t in zip(self.scores, self.truths, strict=True)], axis=0
        )

    def partial(self, kind: str) -> Callable[[Floats], Floats]:
        """The same with size held fixed."""
        return lambda weights: np.mean(
            [
                partial_rank_correlation(scores[kind], truth, scores[SIZE], weights)
                for scores, truth in zip(self.scores, self.truths, strict=True)
            ],
            axis=0,
        )

    def difference(self, kind: str, other: str) -> Callable[[Floats], Floats]:
        """Correlation of a kind less that of another, on the same draws."""
        return lambda weights: self.spearman(kind)(weights) - self.spearman(other)(weights)


def domain_share_checks(models: Models, means: Mapping[tuple[str, str], Floats], kinds: Sequence[str]) -> list[Check]:
    """Spearman over the models of the mean score of a domain's documents and the domain's true share.

    means: by score kind and domain, (models,), NaN where a model has no such score. The domain `all` is the mean of the
    correlations of the single domains, over the models that have a score in each; a domain whose share is the same for
    all models has none.
    """
    owners = [frozenset([name]) for name in models.pretrained]
    strata = {
        domain: (models.shares[:, place], {kind: means[kind, domain] for kind in kinds} | {SIZE: models.size})
        for place, domain in enumerate(models.domains)
    }
    checks: list[Check] = []
    for domain in (*models.domains, ALL):
        own = [strata[domain]] if domain != ALL else [one for one in strata.values() if np.ptp(one[0])]
        if own:
            items = _Items([truth for truth, _ in own], [scores for _, scores in own], models.weights, owners)
            checks += _checks(DOMAIN_SHARE, domain, items, kinds)
    return checks


def mix_distance_checks(models: Models, counts: Mapping[tuple[str, str], Floats], kinds: Sequence[str]) -> list[Check]:
    """Spearman over the pairs of models of the Jensen-Shannon distances of their scores and of their true mixes.

    counts: by score kind and domain (or `all`), the histograms, (models, bins), without a document where a model has no
    such score. In a domain the true mix is that domain against the rest; over `all`, the whole mix.
    """
    both = list(combinations(range(len(models.pretrained)), 2))
    weights = pair_weights(models.weights, both)
    owners = [frozenset((models.pretrained[a], models.pretrained[b])) for a, b in both]
    size = np.array([abs(models.size[a] - models.size[b]) for a, b in both]).round(_DIGITS)
    checks: list[Check] = []
    for domain in (*models.domains, ALL):
        scores = {kind: _distances(counts[kind, domain]) for kind in kinds} | {SIZE: size}
        items = _Items([true_distances(models, domain)], [scores], weights, owners)
        checks += _checks(MIX_DISTANCE, domain, items, kinds)
    return checks


def true_distances(models: Models, domain: str) -> Floats:
    """Jensen-Shannon distance, base 2, of the true mixes of every pair: a domain against the rest, or the whole mix."""
    mixes = models.shares
    if domain != ALL:
        share = mixes[:, list(models.domains).index(domain)]
        mixes = np.stack([share, 1 - share], axis=1)
    return _distances(mixes)


def _distances(counts: Floats) -> Floats:
    """Jensen-Shannon distances, base 2, of the histograms of every pair; NaN where a side has no document."""
    a, b = np.triu_indices(len(counts), 1)
    with np.errstate(invalid="ignore"):
        return np.asarray(jensenshannon(counts[a], counts[b], base=2, axis=1)).round(_DIGITS)


def _checks(name: str, domain: str, items: _Items, kinds: Sequence[str]) -> Iterator[Check]:
    """Every kind against the truth, plain and with size held fixed; then against size, and against every other kind."""
    for kind in kinds:
        having = items.having([kind])
        own = Check(name, "spearman", having.n, domain=domain, score_kind=kind, baseline_name=SIZE)
        size = having.spearman(SIZE)
        yield replace(own, **estimated(having.spearman(kind), having.weights, size, having.enough))
        held = replace(own, statistic="spearman_given_size", baseline_name="no_correlation")
        yield replace(held, **estimated(having.partial(kind), having.weights, 0.0, having.enough))
    for kind, other in (*((kind, SIZE) for kind in kinds), *combinations(kinds, 2)):
        having = items.having([kind, other])
        own = Check(name, "spearman_difference", having.n, domain=domain, score_kind=kind, compared_with=other)
        found = estimated(having.difference(kind, other), having.weights, 0.0, having.enough)
        yield replace(own, baseline_name="no_difference", **found)


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
    """Result of choosing on half of the validation prompts, on the other half, in percent of the pairs won.

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

    Only directions are compared, for a multiple of a vector prefers the same responses. Baselines: equal
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
    """Mean of both over every vector of the merge search's grid but zero: the expectation for a random one."""
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


def check_rows(
    scores: pl.DataFrame,
    histograms: pl.DataFrame,
    searches: pl.DataFrame,
    true_weights: pl.DataFrame,
    kinds: Sequence[str],
    n_resamples: int,
    seed: str,
) -> pl.DataFrame:
    """All checks of a lab, as rows of `SCHEMA`.

    scores: rows of int_lab_domain_scores; histograms: of int_score_histograms, of one binning; searches: of
    int_lab_searches; true_weights: attribute and weight. kinds: the kinds of score that are compared, in the order
    that differences are taken in. seed: the study.
    """
    checks = []
    if scores.height:
        names = scores["model_id"].unique().sort().to_list()
        models = _models(scores, names, n_resamples, seed)
        means = {(kind, domain): _means(scores, names, kind, domain) for kind in kinds for domain in models.domains}
        checks += domain_share_checks(models, means, kinds)
        domains = (*models.domains, ALL)
        counts = {(kind, domain): _counts(histograms, names, kind, domain) for kind in kinds for domain in domains}
        checks += mix_distance_checks(models, counts, kinds)
    if true_weights.height:
        known = dict(true_weights.select("attribute", "weight").iter_rows())
        merges = [
            Merge(row["model_id"], row["pretrained_model_id"], tuple(row[f"weight_{name}"] for name in ATTRIBUTES))
            for row in searches.iter_rows(named=True)
            if row["weight_helpfulness"] is not None
        ]
        checks += merge_checks(merges, [known[name] for name in ATTRIBUTES], n_resamples, seed)
    return frame(checks + rate_checks([_search(row) for row in searches.iter_rows(named=True)], n_resamples, seed))


def _models(scores: pl.DataFrame, names: Sequence[str], n_resamples: int, seed: str) -> Models:
    one = scores.unique("model_id").sort("model_id")
    shares = scores.unique(["model_id", "domain"]).pivot("domain", index="model_id", values="share").sort("model_id")
    domains = sorted(name for name in shares.columns if name != "model_id")
    pretrained = one["pretrained_model_id"].to_list()
    return Models(
        pretrained=pretrained,
        domains=domains,
        shares=shares.select(domains).to_numpy(),
        size=one["log10_parameters"].to_numpy(),
        weights=draws(pretrained, n_resamples, f"{seed}/models"),
    )


def _means(scores: pl.DataFrame, names: Sequence[str], kind: str, domain: str) -> Floats:
    """(models,) mean score, higher is better; NaN where there is none."""
    own = scores.filter(score_kind=kind, domain=domain)
    found = dict(own.select("model_id", "mean_score").iter_rows())
    return np.array([found.get(name) for name in names], dtype=np.float64)


def _counts(histograms: pl.DataFrame, names: Sequence[str], kind: str, domain: str) -> Floats:
    """(models, bins) documents; a row of zeros where a model has no such score."""
    own = histograms.filter(score_kind=kind, domain=domain).sort("model_id", "bin")
    found = {str(name): part["n"].to_numpy() for (name,), part in own.group_by("model_id")}
    nothing = np.zeros(max(1, own["bin"].n_unique()))
    return np.stack([found.get(name, nothing) for name in names]).astype(np.float64)


def _search(row: dict[str, object]) -> RateSearch:
    columns = ("model_id", "pretrained_model_id", "objective", "accuracy_other_half", "accuracy_mean_rate",
               "accuracy_best_rate", "n_rates")  # fmt: skip
    return RateSearch(*(row[name] for name in columns))  # type: ignore[arg-type]
