"""Do scores of documents tell the mixes of the pre-training text? Rank correlations over models and pairs of models.

Scores come in the direction in which 1 is always good: the more a model saw of a domain, the higher (bits per byte with
its sign turned). What has to be beaten is size: log10 of the parameters in place of the score.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from models_train.mix.distances import distances, pairs
from models_train.synthetic.checks.resampling import (
    MIN_MODELS,
    Floats,
    pair_weights,
    partial_rank_correlation,
    rank_correlation,
)
from models_train.synthetic.checks.rows import SIZE, Check, estimated

ALL = "all"
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
    """What is ranked, models or pairs: the truth, its scores by kind (size is one), and the resamples.

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
    both = pairs(len(models.pretrained))
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
    return distances(mixes).round(_DIGITS)


def _distances(counts: Floats) -> Floats:
    """Distances of the histograms of every pair; NaN where a side has no document."""
    empty = counts.sum(axis=1) == 0
    found = distances(np.where(empty[:, None], 1.0, counts)).round(_DIGITS)
    missing = [bool(empty[a] or empty[b]) for a, b in pairs(len(counts))]
    return np.where(missing, np.nan, found) if missing else found


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
