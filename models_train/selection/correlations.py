"""Correlation of a feature with a target over models: statistics, tests and intervals (paper, section 4.1, Eq. 8).

Pure functions from a frame of pairs to a frame of statistics; SciPy computes what SciPy has.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import stats

from models_train.selection.scores import INTERVAL_ENDS, SCORE_LEVEL

Floats = NDArray[np.float64]

GRID = ("study_id", "objective", "target", "feature")
PAIR_COLUMNS = (*GRID, "model_id", "publisher", "log10_params", "feature_value", "target_value")

STATISTICS_SCHEMA: Mapping[str, type[pl.DataType]] = {
    "study_id": pl.String,
    "objective": pl.String,
    "target": pl.String,
    "feature": pl.String,
    "n": pl.Int32,
    "n_publishers": pl.Int32,
    "pearson": pl.Float64,
    "pearson_low": pl.Float64,
    "pearson_high": pl.Float64,
    "bootstrap_low": pl.Float64,
    "bootstrap_high": pl.Float64,
    "spearman": pl.Float64,
    "t_statistic": pl.Float64,
    "p_value": pl.Float64,
    "q_value": pl.Float64,
    "critical_r": pl.Float64,
    "partial_pearson_given_size": pl.Float64,
    "status": pl.String,
}


def critical_r(n: int) -> float:
    """Smallest |r| that a two-sided t test at level 0.05 calls significant for n pairs (n >= 3).

    It is 0.312 for n = 40. The paper prints 0.316 as its threshold for n = 40 (section 4.1);
    that is the value for n = 39.
    """
    t = stats.t.ppf(0.975, n - 2)
    return float(t / np.sqrt(n - 2 + t * t))


def t_statistic(r: float, n: int) -> float:
    """t of a correlation over n pairs (paper, Eq. 8); infinite, with the sign of r, where |r| is 1."""
    if abs(r) >= 1:
        return float(np.copysign(np.inf, r))
    return float(r * np.sqrt(n - 2) / np.sqrt(1 - r * r))


def partial_correlation(r_xy: float, r_xz: float, r_yz: float) -> float | None:
    """Correlation of x and y with z held fixed; None where x or y is z itself (nothing is left to correlate)."""
    rest = (1 - r_xz**2) * (1 - r_yz**2)
    if rest < 1e-12:
        return None
    return float((r_xy - r_xz * r_yz) / np.sqrt(rest))


def publisher_bootstrap(
    x: Floats, y: Floats, publishers: NDArray[np.str_], *, resamples: int, seed: int
) -> tuple[float, float] | None:
    """95 % percentile interval of Pearson's r when whole publishers are drawn with replacement.

    Models of one publisher resemble each other, so publishers are the sample, not models. A draw is a weight per model
    (how often its publisher was drawn), which makes all draws one matrix product. Draws in which x or y does not vary
    have no correlation and are left out.

    x, y, publishers: shape (n,). Returns None with fewer than two publishers or no usable draw.
    """
    names, member = np.unique(publishers, return_inverse=True)
    if len(names) < 2:
        return None
    draws = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    weights = draws[:, member].astype(np.float64)
    weights /= weights.sum(axis=1, keepdims=True)
    x, y = (x - x.mean()) / x.std(), (y - y.mean()) / y.std()
    mean_x, mean_y = weights @ x, weights @ y
    var_x, var_y = weights @ (x * x) - mean_x**2, weights @ (y * y) - mean_y**2
    usable = (var_x > 1e-10) & (var_y > 1e-10)
    if not usable.any():
        return None
    covariance = weights @ (x * y) - mean_x * mean_y
    r = covariance[usable] / np.sqrt(var_x[usable] * var_y[usable])
    low, high = np.quantile(np.clip(r, -1, 1), INTERVAL_ENDS)
    return float(low), float(high)


def pair_statistics(
    x: Floats,
    y: Floats,
    size: Floats,
    publishers: NDArray[np.str_],
    *,
    minimum_models: int,
    resamples: int,
    seed: int,
) -> dict[str, object]:
    """All statistics of one feature and one target. x, y, size (log10 of parameters), publishers: shape (n,).

    Fewer than `minimum_models` pairs: r is stated from three pairs on, but nothing is tested. A feature or target
    that does not vary has status `constant` and no r.
    """
    n = len(x)
    row: dict[str, object] = {"n": n, "n_publishers": len(np.unique(publishers)), "status": "too_few_models"}
    if n < 3:
        return row
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return row | {"status": "constant" if n >= minimum_models else "too_few_models"}
    pearson = stats.pearsonr(x, y)
    r = float(pearson.statistic)
    row |= {"pearson": r, "spearman": float(stats.spearmanr(x, y).statistic)}
    if n < minimum_models:
        return row
    fisher = pearson.confidence_interval(SCORE_LEVEL)
    t = t_statistic(r, n)
    row |= {
        "pearson_low": float(fisher.low),
        "pearson_high": float(fisher.high),
        "t_statistic": t,
        "p_value": float(2 * stats.t.sf(abs(t), n - 2)),
        "critical_r": critical_r(n),
        "status": "tested",
    }
    if np.ptp(size) > 0:
        r_x, r_y = float(stats.pearsonr(x, size).statistic), float(stats.pearsonr(y, size).statistic)
        row["partial_pearson_given_size"] = partial_correlation(r, r_x, r_y)
    interval = publisher_bootstrap(x, y, publishers, resamples=resamples, seed=seed)
    if interval is not None:
        row["bootstrap_low"], row["bootstrap_high"] = interval
    return row


def correlation_statistics(pairs: pl.DataFrame, *, minimum_models: int, resamples: int) -> pl.DataFrame:
    """Statistics of every (study, objective, target, feature) in `pairs`.

    pairs: one row per grid cell and model, with PAIR_COLUMNS; rows with a missing value are not pairs.
    Returns one row per grid cell that has at least one pair, with STATISTICS_SCHEMA. q values are Benjamini and
    Hochberg's over all tested cells of a study and objective. The same pairs give the same numbers in any order:
    the bootstrap's seed comes from the cell's name.

    Raises ValueError if a column is missing or a value is not finite.
    """
    missing = [name for name in PAIR_COLUMNS if name not in pairs.columns]
    if missing:
        raise ValueError(f"correlation_statistics: the frame of pairs lacks {', '.join(missing)}")
    pairs = pairs.drop_nulls(["feature_value", "target_value", "log10_params"]).sort(*GRID, "model_id")
    values = pairs.select("feature_value", "target_value", "log10_params").to_numpy()
    if not np.isfinite(values).all():
        bad = pairs.row(int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0]), named=True)
        raise ValueError(f"correlation_statistics: not a finite number in {bad}")

    rows = []
    for key, cell in pairs.group_by(*GRID, maintain_order=True):
        statistics = pair_statistics(
            cell["feature_value"].to_numpy(),
            cell["target_value"].to_numpy(),
            cell["log10_params"].to_numpy(),
            cell["publisher"].to_numpy().astype(str),
            minimum_models=minimum_models,
            resamples=resamples,
            seed=zlib.crc32("/".join(map(str, key)).encode()),
        )
        rows.append(dict(zip(GRID, key, strict=True)) | statistics)
    frame = pl.DataFrame(rows, schema={**STATISTICS_SCHEMA}, orient="row")
    return _with_q_values(frame)


def _with_q_values(frame: pl.DataFrame) -> pl.DataFrame:
    """Benjamini-Hochberg q values over the tested cells of each study and objective."""

    def adjust(group: pl.DataFrame) -> pl.DataFrame:
        p = group["p_value"].to_numpy()
        tested = np.isfinite(p)
        q = np.full(len(p), np.nan)
        if tested.any():
            q[tested] = stats.false_discovery_control(p[tested], method="bh")
        return group.with_columns(pl.Series("q_value", q, pl.Float64).fill_nan(None))

    groups = [adjust(group) for _, group in frame.group_by("study_id", "objective", maintain_order=True)]
    return pl.concat(groups).select(*STATISTICS_SCHEMA) if groups else frame
