"""Which terms the elastic net keeps when other publishers might have come: selection frequency over resamples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits

from models_train.selection.design import Design
from models_train.selection.elastic_net import Setting, fit_setting
from models_train.selection.intervals import cluster_resamples
from models_train.selection.preparation import Prepared

_CHUNKS_PER_JOB = 4


def selection_frequencies(
    design: Design,
    wanted: Sequence[tuple[int, Setting]],
    n_resamples: int = 1000,
    seed: int = 0,
    n_jobs: int = 1,
) -> list[np.ndarray]:
    """Share of publisher-cluster resamples in which each term has a coefficient that is not zero.

    wanted: (target number, setting) pairs. Each resample draws as many publishers as there are, with replacement,
    and repeats imputation, scaling, terms and fit at the given setting. Returns one (terms,) array per pair.
    """
    resamples = cluster_resamples(design.publishers, n_resamples, seed)
    n_chunks = max(1, min(len(resamples), n_jobs * _CHUNKS_PER_JOB))
    chunks = [resamples[start::n_chunks] for start in range(n_chunks)]
    counted = Parallel(n_jobs=n_jobs)(delayed(_count)(design, wanted, chunk) for chunk in chunks)
    return [np.sum(counts, axis=0) / n_resamples for counts in zip(*counted, strict=True)]


def _count(design: Design, wanted: Sequence[tuple[int, Setting]], resamples: list[np.ndarray]) -> list[np.ndarray]:
    columns = list(design.columns.elastic_net)
    names = tuple(design.table.names[column] for column in columns)
    counts: list[np.ndarray | int] = [0] * len(wanted)
    with threadpool_limits(1):
        for rows in resamples:
            prepared = Prepared(design.matrix[:, columns], rows, names)
            for index, (target, setting) in enumerate(wanted):
                fitted = fit_setting(prepared, design.targets[rows, target], setting)
                counts[index] = counts[index] + (fitted.values != 0)
    return [np.asarray(count) for count in counts]
