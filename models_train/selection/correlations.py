"""Correlation of a feature with a target over models: statistics, tests and intervals (paper, section 4.1, Eq. 8).

Pure functions from a frame of pairs to a frame of statistics; SciPy computes what SciPy has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import polars as pl
from numpy.typing import NDArray
from polars import selectors as cs
from scipy import stats

from models_train.selection.jackknife import Jackknife, over_clusters
from models_train.selection.scores import SCORE_LEVEL

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
    "clustered_low": pl.Float64,
    "clustered_high": pl.Float64,
    "spearman": pl.Float64,
    "t_statistic": pl.Float64,
    "p_value": pl.Float64,
    "q_value": pl.Float64,
    "critical_r": pl.Float64,
    "clustered_p_value": pl.Float64,
    "clustered_q_value": pl.Float64,
    "partial_pearson_given_size": pl.Float64,
    "partial_low": pl.Float64,
    "partial_high": pl.Float64,
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


def pearson_and_partial(columns: Floats) -> tuple[float, float]:
    """Pearson's r of the first two rows of `columns` (3, n), and their partial correlation given the third.

    NaN below three models, where a row does not vary, and for a partial correlation of which nothing is left (see
    `partial_correlation`).
    """
    if columns.shape[1] < 3:
        return float("nan"), float("nan")
    with np.errstate(divide="ignore", invalid="ignore"):
        r = np.corrcoef(columns)
    partial = partial_correlation(r[0, 1], r[0, 2], r[1, 2]) if np.isfinite(r).all() else None
    return float(r[0, 1]), float("nan") if partial is None else partial


def over_publishers(correlation: Callable[[NDArray[np.intp]], float], publishers: NDArray[np.str_]) -> Jackknife:
    """95 % interval of a correlation, and its p, when one publisher after the other is left out.

    Computed on Fisher's scale, z = arctanh(r), and turned back: for the 40 models and 10 publishers of the paper this
    covers 0.94 to 0.95 of simulated correlations, on the scale of r 0.89 to 0.94. Models of one publisher resemble each
    other, so publishers are the sample, not models. correlation: from row numbers to r.
    """
    with np.errstate(divide="ignore"):
        found = over_clusters(lambda rows: float(np.arctanh(correlation(rows))), publishers)
    return replace(
        found, estimate=np.tanh(found.estimate), low=float(np.tanh(found.low)), high=float(np.tanh(found.high))
    )


def pair_statistics(
    x: Floats, y: Floats, size: Floats, publishers: NDArray[np.str_], *, minimum_models: int
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
    columns = np.stack([x, y, size])
    clustered = over_publishers(lambda rows: pearson_and_partial(columns[:, rows])[0], publishers)
    partial = over_publishers(lambda rows: pearson_and_partial(columns[:, rows])[1], publishers)
    return row | {
        "pearson_low": float(fisher.low),
        "pearson_high": float(fisher.high),
        "t_statistic": t,
        "p_value": float(2 * stats.t.sf(abs(t), n - 2)),
        "critical_r": critical_r(n),
        "clustered_low": clustered.low,
        "clustered_high": clustered.high,
        "clustered_p_value": clustered.p_value,
        "partial_pearson_given_size": partial.estimate,
        "partial_low": partial.low,
        "partial_high": partial.high,
        "status": "tested",
    }


def correlation_statistics(pairs: pl.DataFrame, *, minimum_models: int) -> pl.DataFrame:
    """Statistics of every (study, objective, target, feature) in `pairs`.

    pairs: one row per grid cell and model, with PAIR_COLUMNS; rows with a missing value are not pairs.
    Returns one row per grid cell that has at least one pair, with STATISTICS_SCHEMA; null for what is not defined.
    q values are Benjamini and Hochberg's over all tested cells of a study and objective, of the plain and of the
    clustered p. The same pairs give the same numbers in any order.

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
        )
        rows.append(dict(zip(GRID, key, strict=True)) | statistics)
    frame = pl.DataFrame(rows, schema={**STATISTICS_SCHEMA}, orient="row").with_columns(cs.float().fill_nan(None))
    groups = [_with_q_values(group) for _, group in frame.group_by("study_id", "objective", maintain_order=True)]
    return pl.concat(groups) if groups else frame


def _with_q_values(group: pl.DataFrame) -> pl.DataFrame:
    """Benjamini-Hochberg q values over the tested cells of a study and objective."""
    for kind in ("", "clustered_"):
        p = group[f"{kind}p_value"].to_numpy()
        tested = np.isfinite(p)
        q = np.full(len(p), np.nan)
        if tested.any():
            q[tested] = stats.false_discovery_control(p[tested], method="bh")
        group = group.with_columns(pl.Series(f"{kind}q_value", q, pl.Float64).fill_nan(None))
    return group
