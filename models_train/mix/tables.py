"""Rows of dbt's Python models on document scores: Arrow tables of the warehouse in, Arrow tables out.

Every function works on one study and one kind of score; `labelled` adds both columns.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from threadpoolctl import threadpool_limits

from models_train.mix import distances
from models_train.mix.agreement import AlignedScores, Scores, side_by_side, spearman, wasserstein_1
from models_train.mix.samples import ALL, Samples, read_samples

HISTOGRAM_SCHEMA = pa.schema(
    [
        ("model_id", pa.string()),
        ("domain", pa.string()),
        ("binning", pa.string()),
        ("bin", pa.int32()),
        ("bin_low", pa.float64()),
        ("bin_high", pa.float64()),
        ("n", pa.int64()),
    ]
)
DISTANCE_SCHEMA = pa.schema(
    [
        ("domain", pa.string()),
        ("binning", pa.string()),
        ("model_a", pa.string()),
        ("model_b", pa.string()),
        ("distance", pa.float64()),
        ("null_floor", pa.float64()),
        ("distance_low", pa.float64()),
        ("distance_high", pa.float64()),
        ("n_a", pa.int64()),
        ("n_b", pa.int64()),
        ("n_bins", pa.int32()),
        ("is_flagged", pa.bool_()),
    ]
)
AGREEMENT_SCHEMA = pa.schema(
    [
        ("domain", pa.string()),
        ("model_a", pa.string()),
        ("model_b", pa.string()),
        ("wasserstein_1", pa.float64()),
        ("spearman", pa.float64()),
        ("n_shared", pa.int64()),
    ]
)
MOST_JOBS = 8
"""Most threads at work."""
T = TypeVar("T")


def histogram_rows(samples: pa.Table, n_bins: int) -> pa.Table:
    """Histograms of every model, domain and binning on edges common to all models; `HISTOGRAM_SCHEMA`.

    samples: as `samples.sort_documents` returns them. The domain `all` has its own edges.
    """
    found = read_samples(samples)
    tasks = [
        (found.of(domain), domain, binning, n_bins) for domain in _domains(found) for binning in distances.BINNINGS
    ]
    return one_table(_parallel(_histograms, tasks), HISTOGRAM_SCHEMA)


def distance_rows(histogram: pa.Table, samples: pa.Table, n_resamples: int, n_permutations: int, seed: str) -> pa.Table:
    """Distance, floor and interval of every pair of models, per domain and binning; `DISTANCE_SCHEMA`.

    histogram: rows of `histogram_rows`; samples: the rows that they were made of. seed: any text that names the rows.
    The rows do not depend on the number of threads.
    """
    weights, found = distances.block_weights(n_resamples), read_samples(samples)
    tasks = [
        (domain, binning, _Group(rows), found.of(domain), weights, n_permutations, f"{seed}/{domain}/{binning}")
        for domain, binning, rows in _groups(histogram)
    ]
    return one_table(_parallel(_distances, tasks), DISTANCE_SCHEMA)


def agreement_rows(scores: AlignedScores) -> pa.Table:
    """Wasserstein-1 and Spearman of every pair of models, per domain and for all documents; `AGREEMENT_SCHEMA`.

    A model without documents of a domain is left out there. The scores are removed on the way, since a copy is a third
    of a gigabyte at the paper's size.
    """
    tables, parts = [], []
    for domain in scores.domains:
        parts.append(scores.take(domain))
        tables.append(_agreements(domain, *parts[-1]))
    if parts:
        whole = side_by_side(parts)
        parts.clear()
        tables.append(_agreements(ALL, *whole))
    return one_table(tables, AGREEMENT_SCHEMA)


def labelled(rows: pa.Table, **values: str) -> pa.Table:
    """The rows, with columns of one text each before their own."""
    columns = [pa.array([value] * rows.num_rows, pa.string()) for value in values.values()]
    return pa.table([*columns, *rows.columns], names=[*values, *rows.column_names])


def one_table(tables: Sequence[pa.Table], schema: pa.Schema, *labels: str) -> pa.Table:
    """The tables below one another; of none, an empty one with the labels' columns and those of the schema."""
    whole = pa.schema([*((label, pa.string()) for label in labels), *schema])
    return pa.concat_tables([whole.empty_table(), *tables])


def _histograms(samples: Samples, domain: str, binning: distances.Binning, n_bins: int) -> pa.Table:
    edges = distances.edges(samples, n_bins, binning)
    models = sorted(set(samples.models))
    found = np.zeros((len(models), n_bins), np.int64)
    np.add.at(found, [models.index(model) for model in samples.models], distances.counts(samples, edges))
    columns = [
        np.repeat(models, n_bins),
        np.repeat([domain], found.size),
        np.repeat([binning], found.size),
        np.tile(np.arange(1, n_bins + 1), len(models)),
        np.tile(edges[:-1], len(models)),
        np.tile(edges[1:], len(models)),
        found.ravel(),
    ]
    return _table(columns, HISTOGRAM_SCHEMA)


class _Group:
    """The histograms of one domain and binning: models by name, their counts (models, bins), the edges (bins + 1,)."""

    def __init__(self, histogram: pa.Table) -> None:
        ordered = histogram.sort_by([("model_id", "ascending"), ("bin", "ascending")])
        self.models = sorted(set(ordered["model_id"].to_pylist()))
        self.counts = ordered["n"].to_numpy().reshape(len(self.models), -1)
        n_bins = self.counts.shape[1]
        low, high = (ordered[name].to_numpy()[:n_bins] for name in ("bin_low", "bin_high"))
        self.edges = np.append(low, high[-1]).astype(np.float32)


def _distances(
    domain: str,
    binning: str,
    group: _Group,
    samples: Samples,
    weights: np.ndarray,
    n_permutations: int,
    seed: str,
) -> pa.Table:
    a, b = np.triu_indices(len(group.models), 1)
    sizes = group.counts.sum(axis=1)
    observed = distances.distances(group.counts)
    blocks = distances.block_counts(samples, group.edges, group.models)
    columns = [
        *(np.repeat([name], a.size) for name in (domain, binning)),
        *(np.array(group.models)[side] for side in (a, b)),
        observed,
        distances.null_floors(group.counts, n_permutations, seed),
        *distances.intervals(observed, distances.resampled_divergences(blocks, weights)),
        *(sizes[a], sizes[b]),
        np.count_nonzero(group.counts[a] + group.counts[b], axis=1),
        np.minimum(sizes[a], sizes[b]) < distances.MIN_DOCUMENTS,
    ]
    return _table(columns, DISTANCE_SCHEMA)


def _agreements(domain: str, models: Sequence[str], matrix: np.ndarray) -> pa.Table:
    scores = [Scores(row) for row in matrix]
    _parallel(getattr, [(one, "ranks") for one in scores])  # sorted now, in parallel, and kept
    a, b = np.triu_indices(len(models), 1)
    found = _parallel(_agreement, [(scores[one], scores[other]) for one, other in zip(a, b, strict=True)])
    figures = zip(*found, strict=True) if found else [()] * 3
    return _table(
        [np.repeat([domain], a.size), *(np.array(models)[side] for side in (a, b)), *figures], AGREEMENT_SCHEMA
    )


def _agreement(a: Scores, b: Scores) -> tuple[float, float | None, int]:
    return wasserstein_1(a, b), *spearman(a, b)


def _domains(samples: Samples) -> list[str]:
    return [ALL, *sorted(set(samples.domains))] if samples.domains else []


def _groups(histogram: pa.Table) -> Iterator[tuple[str, str, pa.Table]]:
    """Domain, binning and their rows."""
    for domain in histogram["domain"].unique().to_pylist():
        for binning in histogram["binning"].unique().to_pylist():
            rows = histogram.filter((pc.field("domain") == domain) & (pc.field("binning") == binning))
            if rows.num_rows:
                yield domain, binning, rows


def _table(columns: Iterable[Sequence | np.ndarray], schema: pa.Schema) -> pa.Table:
    return pa.table(
        [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema=schema
    )


def _parallel(function: Callable[..., T], calls: Sequence[tuple]) -> list[T]:
    """Results of the calls, in their order: by threads, since NumPy releases Python's lock. NumPy uses one in each."""
    with threadpool_limits(1), ThreadPoolExecutor(min(os.cpu_count() or 1, MOST_JOBS)) as pool:
        return list(pool.map(lambda call: function(*call), calls))
