"""The marts of document scores for a fixture study: normal scores on common bins, distances from the means alone."""

from __future__ import annotations

import math
from itertools import combinations, pairwise
from typing import Any

import duckdb
import polars as pl
from scipy.stats import norm

DOMAINS = ("all", "Book", "Github")
N_BINS = 20


def write_document_marts(
    connection: duckdb.DuckDBPyConnection, study_id: str, models: list[str], *, n_documents: int = 20_000
) -> None:
    """Add the marts to a database of `marts_database.write_marts`: all models but the last were scored, the last (of at
    least 2) shares the scores of the first. The second scored model has failures and no bits per byte in one domain.
    """
    scored, lent = models[:-1], models[-1]
    presence, bins, distances = [], [], []
    for domain in DOMAINS:
        means = {model: -2.0 - 0.1 * place - 0.2 * DOMAINS.index(domain) for place, model in enumerate(scored)}
        for model in models:
            donor = scored[0] if model == lent else model
            own = {"study_id": study_id, "model_id": model, "donor_model_id": donor, "domain": domain}
            presence.append(own | _means(means[donor], n_documents, donor == scored[min(1, len(scored) - 1)], domain))
            for binning in ("quantile", "fixed"):
                bins += [own | {"binning": binning} | row for row in _bins(means[donor], n_documents)]
        for a, b in combinations(sorted(scored), 2):
            pair = {"study_id": study_id, "domain": domain, "model_a": a, "model_b": b}
            distances.append(pair | _distance(abs(means[a] - means[b]), n_documents, domain == "all"))
    tables = {
        "fct_presence_by_domain": presence,
        "fct_presence_score_distributions": bins,
        "fct_jensen_shannon_distances": distances,
    }
    for name, rows in tables.items():
        if rows:
            frame = pl.DataFrame(rows, infer_schema_length=None).to_arrow()
            connection.register("frame", frame)
            connection.execute(f"create or replace table marts.{name} as select * from frame")
            connection.unregister("frame")


def _means(mean: float, n_documents: int, has_failures: bool, domain: str) -> dict[str, Any]:
    bits = None if has_failures and domain == "Github" else -mean / math.log(2) / 4
    return {
        "corpus": "pile",
        "engine": "packed",
        "n_documents": n_documents,
        "n_errors": 12 if has_failures else 0,
        "n_truncated": 100,
        "mean_presence_score": mean,
        "standard_error_presence_score": 0.01,
        "mean_bits_per_byte": bits,
        "standard_error_bits_per_byte": None if bits is None else 0.01,
        "total_bits_per_byte": bits,
    }


def _bins(mean: float, n_documents: int) -> list[dict[str, Any]]:
    edges = [-4 + 0.15 * place for place in range(N_BINS + 1)]
    shares = [float(norm.cdf(high, mean, 0.5) - norm.cdf(low, mean, 0.5)) for low, high in pairwise(edges)]
    return [
        {
            "score_kind": "presence_score",
            "bin": place + 1,
            "bin_low": edges[place],
            # ties leave a bin without width
            "bin_high": edges[place] if place == 5 else edges[place + 1],
            "n": round(n_documents * share),
            "share": share / sum(shares),
        }
        for place, share in enumerate(shares)
    ]


def _distance(shift: float, n_documents: int, is_whole: bool) -> dict[str, Any]:
    distance, floor = min(1.0, 0.04 + 0.4 * shift), 0.03
    mean = distance + 0.1 if is_whole else None
    return {
        "score_kind": "presence_score",
        "binning": "quantile",
        "distance": distance,
        "null_floor": floor,
        "distance_corrected": distance - 0.01,
        "distance_low": 0.0 if shift < 0.15 else distance - 0.02,
        "distance_high": distance + 0.02,
        "is_told_apart": shift >= 0.15,
        "mean_domain_distance": mean,
        "mean_domain_distance_corrected": mean,
        "mean_domain_distance_low": mean,
        "mean_domain_distance_high": mean,
        "n_a": n_documents,
        "n_b": n_documents,
        "n_bins": N_BINS,
        "wasserstein_1": shift,
        "spearman": 0.9,
        "n_shared": n_documents,
    }
