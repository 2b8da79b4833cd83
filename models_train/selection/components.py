"""Capability components: PCA of the standardised models x benchmarks matrix (paper, Appendix F, Figures 12, 13)."""

from __future__ import annotations

import numpy as np
import polars as pl
from sklearn.decomposition import PCA

from models_train.selection.features import MIN_MODELS, FeatureTable, TooLittleData
from warehouse.contracts import PERFORMANCE_TABLES

IMPUTATION_RANK = 3
NOISE_DRAWS = 100
_MAX_ROUNDS = 1000
_TOLERANCE, _NOISE_TOLERANCE = 1e-8, 1e-4
"""Largest last change of a filled cell, in standard deviations of its benchmark."""


def capability_components(table: FeatureTable) -> pl.DataFrame:
    """Rows of the table `capability_components`: over all models of the feature table with any benchmark value.

    Build the table with `aggregates`, so that no benchmark counts twice through an average.
    Missing cells: iterative low-rank imputation. Loadings are unit vectors over benchmarks; the largest in size is
    positive. Beside the shares of the variance stand those of independent noise (`noise_shares`). Raises TooLittleData
    with fewer than 8 models or fewer than two benchmarks.
    """
    columns = list(table.of_kind("benchmark"))
    names = [table.names[i] for i in columns]
    values = table.values[:, columns]
    values = values[np.isfinite(values).any(axis=1)]
    if len(names) < 2 or values.shape[0] < MIN_MODELS:
        raise TooLittleData(
            f"components need at least two benchmarks and {MIN_MODELS} models; "
            f"there are {len(names)} benchmark(s) and {values.shape[0]} model(s)"
        )
    missing = ~np.isfinite(values)
    rank = min(IMPUTATION_RANK, min(values.shape) - 1)
    filled = low_rank_impute(values, rank)
    fitted = PCA(svd_solver="full").fit((filled - filled.mean(axis=0)) / _scale(filled))
    loadings = fitted.components_
    largest = np.abs(loadings).argmax(axis=1)
    loadings = loadings * np.sign(loadings[np.arange(len(loadings)), largest])[:, None]
    method = (
        f"iterative low-rank imputation (rank {rank}) of {int(missing.sum())} of {missing.size} cells"
        if missing.any()
        else "complete cases; no cell was imputed"
    )
    noise = noise_shares(missing, rank)
    basis = (method, values.shape[0], int(missing.sum()))
    rows = [
        (
            number + 1,
            float(ratio),
            float(noise[:, number].mean()),
            float(np.quantile(noise[:, number], 0.95)),
            name,
            float(loading),
            *basis,
        )
        for number, (ratio, weights) in enumerate(zip(fitted.explained_variance_ratio_, loadings, strict=True))
        for name, loading in zip(names, weights, strict=True)
    ]
    return pl.DataFrame(rows, pl.Schema(PERFORMANCE_TABLES["capability_components"].filled_columns), orient="row")


def noise_shares(missing: np.ndarray, rank: int, draws: int = NOISE_DRAWS) -> np.ndarray:
    """Shares of the variance (draws, components) that independent normal noise gives: Horn's parallel analysis.

    missing: (models, benchmarks), the cells that are filled in the noise too, in the same way. Seeded.
    """
    generator = np.random.default_rng(0)
    shares = []
    for _ in range(draws):
        draw = np.where(missing, np.nan, generator.standard_normal(missing.shape))
        filled = low_rank_impute(draw, rank, _NOISE_TOLERANCE)
        squares = np.linalg.svd((filled - filled.mean(axis=0)) / _scale(filled), compute_uv=False) ** 2
        shares.append(squares / squares.sum())
    return np.array(shares)


def low_rank_impute(values: np.ndarray, rank: int, tolerance: float = _TOLERANCE) -> np.ndarray:
    """Fill NaN with the rank-`rank` PCA reconstruction of the standardised matrix, repeated until it converges.

    values: (models, benchmarks). Known cells are returned unchanged. Starts from column means.
    """
    missing = ~np.isfinite(values)
    if not missing.any():
        return values.copy()
    filled = np.where(missing, np.nanmean(values, axis=0), values)
    for _ in range(_MAX_ROUNDS):
        mean, scale = filled.mean(axis=0), _scale(filled)
        left, singular, right = np.linalg.svd((filled - mean) / scale, full_matrices=False)
        rebuilt = (left[:, :rank] * singular[:rank]) @ right[:rank] * scale + mean
        updated = np.where(missing, rebuilt, values)
        moved = np.max(np.abs(updated - filled) / scale)
        filled = updated
        if moved < tolerance:
            break
    return filled


def _scale(values: np.ndarray) -> np.ndarray:
    deviation = values.std(axis=0)
    return np.where(deviation > 0, deviation, 1.0)
