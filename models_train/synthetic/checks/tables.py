"""Frames of the warehouse in, rows of the checks out: what dbt's Python model calls, for one study."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from models_train.data.records import ATTRIBUTES
from models_train.synthetic.checks.choices import Merge, RateSearch, merge_checks, rate_checks
from models_train.synthetic.checks.ranks import ALL, Models, domain_share_checks, mix_distance_checks
from models_train.synthetic.checks.resampling import Floats, draws
from models_train.synthetic.checks.rows import frame


def check_rows(
    scores: pl.DataFrame,
    histograms: pl.DataFrame,
    searches: pl.DataFrame,
    true_weights: pl.DataFrame,
    kinds: Sequence[str],
    n_resamples: int,
    seed: str,
) -> pl.DataFrame:
    """All checks of a lab, as rows of `rows.SCHEMA`.

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
