"""Frames of the warehouse in, rows of the intermediate models out: what dbt's Python models call.

Everything here works on one study and one kind of score; the caller adds both columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import polars as pl
import pyarrow as pa
from joblib import Parallel, cpu_count, delayed
from threadpoolctl import threadpool_limits

from models_train.mix import distances, histograms
from models_train.mix.agreement import Scores, spearman, wasserstein_1
from models_train.mix.documents import AlignedScores, side_by_side
from models_train.mix.samples import ALL, Sample, read_samples

HISTOGRAM_SCHEMA = {
    "model_id": pl.String,
    "domain": pl.String,
    "binning": pl.String,
    "bin": pl.Int32,
    "bin_low": pl.Float64,
    "bin_high": pl.Float64,
    "n": pl.Int64,
}
DISTANCE_SCHEMA = {
    "domain": pl.String,
    "binning": pl.String,
    "model_a": pl.String,
    "model_b": pl.String,
    "distance": pl.Float64,
    "null_floor": pl.Float64,
    "distance_low": pl.Float64,
    "distance_high": pl.Float64,
    "n_a": pl.Int64,
    "n_b": pl.Int64,
    "n_bins": pl.Int32,
    "is_flagged": pl.Boolean,
}
AGREEMENT_SCHEMA = {
    "domain": pl.String,
    "model_a": pl.String,
    "model_b": pl.String,
    "wasserstein_1": pl.Float64,
    "spearman": pl.Float64,
    "n_shared": pl.Int64,
}
MOST_JOBS = 8


def histogram_rows(samples: pa.Table, n_bins: int) -> pl.DataFrame:
    """Histograms of every model, domain and binning on edges common to all models; `HISTOGRAM_SCHEMA`.

    samples: as `samples.sort_documents` makes them. The domain `all` has edges of its own.
    """
    found = read_samples(samples)
    tasks = [(domain, binning) for domain in _domains(found) for binning in histograms.BINNINGS]
    frames = _parallel(delayed(_histograms)(_of(found, domain), domain, binning, n_bins) for domain, binning in tasks)
    return pl.concat(frames) if frames else pl.DataFrame(schema=HISTOGRAM_SCHEMA)


def distance_rows(
    histogram: pl.DataFrame, samples: pa.Table, n_resamples: int, n_permutations: int, seed: str
) -> pl.DataFrame:
    """Distance, floor and interval of every pair of models, per domain and binning; `DISTANCE_SCHEMA`.

    histogram: rows of `histogram_rows`; samples: those that it was made of. seed: what the rows belong to, in words.
    """
    found = read_samples(samples)
    weights = distances.block_weights(n_resamples)
    groups = histogram.partition_by("domain", "binning", as_dict=True, maintain_order=True)
    frames = _parallel(
        delayed(_distances)(group, _of(found, str(domain)), weights, n_permutations, f"{seed}/{domain}/{binning}")
        for (domain, binning), group in groups.items()
    )
    return pl.concat(frames) if frames else pl.DataFrame(schema=DISTANCE_SCHEMA)


def agreement_rows(scores: AlignedScores) -> pl.DataFrame:
    """Wasserstein-1 and Spearman of every pair of models, per domain and for all documents; `AGREEMENT_SCHEMA`.

    A model without documents of a domain is left out there. The scores are used up.
    """
    frames, parts = [], []
    for domain in scores.domains:
        parts.append(scores.take(domain))
        frames.append(_agreements(domain, *parts[-1]))
    if parts:
        whole = side_by_side(parts)
        parts.clear()  # at the paper's size each copy of the scores is a third of a gigabyte
        frames.append(_agreements(ALL, *whole))
    return pl.concat(frames) if frames else pl.DataFrame(schema=AGREEMENT_SCHEMA)


def _histograms(samples: Sequence[Sample], domain: str, binning: histograms.Binning, n_bins: int) -> pl.DataFrame:
    edges = histograms.edges([sample.scores for sample in samples], n_bins, binning)
    counted: dict[str, np.ndarray] = {}
    for sample in samples:
        counted[sample.model_id] = counted.get(sample.model_id, 0) + histograms.counts(sample.scores, edges)
    n_models = len(counted)
    return pl.DataFrame(
        {
            "model_id": np.repeat(list(counted), n_bins),
            "domain": [domain] * n_models * n_bins,
            "binning": [binning] * n_models * n_bins,
            "bin": np.tile(np.arange(1, n_bins + 1), n_models),
            "bin_low": np.tile(edges[:-1].astype(np.float64), n_models),
            "bin_high": np.tile(edges[1:].astype(np.float64), n_models),
            "n": np.concatenate(list(counted.values())),
        },
        schema=HISTOGRAM_SCHEMA,
    )


def _distances(
    histogram: pl.DataFrame, samples: Sequence[Sample], weights: np.ndarray, n_permutations: int, seed: str
) -> pl.DataFrame:
    ordered = histogram.sort("model_id", "bin")
    models = ordered["model_id"].unique(maintain_order=True).to_list()
    counts = ordered["n"].to_numpy().reshape(len(models), -1)
    one = ordered.head(counts.shape[1])
    edges = np.append(one["bin_low"].to_numpy(), one["bin_high"][-1]).astype(np.float32)
    observed = distances.distances(counts)
    low, high = distances.intervals(observed, distances.resampled_divergences(_blocks(samples, models, edges), weights))
    floors = distances.null_floors(counts, n_permutations, seed)
    rows = []
    for number, (a, b) in enumerate(distances.pairs(len(models))):
        n_a, n_b = int(counts[a].sum()), int(counts[b].sum())
        n_bins = int(np.count_nonzero(counts[a] + counts[b]))
        flagged = min(n_a, n_b) < distances.MIN_DOCUMENTS
        figures = (float(values[number]) for values in (observed, floors, low, high))
        rows.append((one["domain"][0], one["binning"][0], models[a], models[b], *figures, n_a, n_b, n_bins, flagged))
    return pl.DataFrame(rows, schema=DISTANCE_SCHEMA, orient="row")


def _blocks(samples: Sequence[Sample], models: Sequence[str], edges: np.ndarray) -> np.ndarray:
    """(models, N_BLOCKS, bins) documents per model, block and bin."""
    parts = {model: [sample for sample in samples if sample.model_id == model] for model in models}
    return np.stack(
        [
            sum(histograms.block_counts(sample.scores, sample.blocks, edges) for sample in parts[model])
            for model in models
        ]
    )


def _agreements(domain: str, models: Sequence[str], matrix: np.ndarray) -> pl.DataFrame:
    scores = [Scores(row) for row in matrix]
    _parallel(delayed(getattr)(one, "ranks") for one in scores)  # sorted now, each in a thread of its own, and kept
    pairs = distances.pairs(len(models))
    found = _parallel(delayed(_agreement)(scores[a], scores[b]) for a, b in pairs)
    rows = [(domain, models[a], models[b], *figures) for (a, b), figures in zip(pairs, found, strict=True)]
    return pl.DataFrame(rows, schema=AGREEMENT_SCHEMA, orient="row")


def _agreement(a: Scores, b: Scores) -> tuple[float, float | None, int]:
    return wasserstein_1(a, b), *spearman(a, b)


def _domains(samples: Sequence[Sample]) -> list[str]:
    return [*sorted({sample.domain for sample in samples}), ALL] if samples else []


def _of(samples: Sequence[Sample], domain: str) -> list[Sample]:
    return [sample for sample in samples if domain in (ALL, sample.domain)]


def _parallel(calls: Iterable[object]) -> list:
    """Threads, for NumPy lets go of Python's lock; the order of the answer does not depend on their number."""
    with threadpool_limits(1):
        return list(Parallel(n_jobs=min(cpu_count(), MOST_JOBS), prefer="threads")(calls))
