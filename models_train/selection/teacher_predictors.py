"""Does a property of a reward model say what it teaches? Correlations over reward models, with exact tests.

A reward model that taught several policies is one case, not several: beside each policy there are the mean of the
correlations within policies, tested by the same permutation of reward models in every policy, and the correlation
between the means of the policies. Fewer than MINIMUM_FOR_A_TEST cases are listed without a test.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache
from itertools import permutations

import numpy as np
import polars as pl
from numpy.typing import NDArray
from polars import selectors as cs
from scipy import stats

from models_train.selection.correlations import critical_r
from models_train.selection.scores import SCORE_LEVEL

Floats = NDArray[np.float64]

MINIMUM_FOR_A_TEST = 6
"""Fewest cases of a test of a single correlation: of five, at most |rho| = 1 is significant."""
MOST_ENUMERATED = 8
"""Most cases whose permutations are all computed (40,320); of more, N_DRAWS are drawn."""
N_DRAWS = 10_000
SMALLEST_DIFFERENCE = 1e-9
"""Values nearer than this are equal: the order of a sum decides the last digits."""
CELL = ("study_id", "gold", "method", "selection", "target", "predictor")
WITHIN, BETWEEN, POOLED, CENTRED = "within", "between", "pooled", "centred"
"""`policy` of rows over several policies."""

PUBLISHED, PRINTED = "published", "printed"
"""`basis` of a row: computed from published figures of single reward models; a printed coefficient."""

SCHEMA: Mapping[str, type[pl.DataType]] = {
    "basis": pl.String,
    "paper_tables": pl.String,
    **dict.fromkeys(CELL, pl.String),
    "policy": pl.String,
    "n": pl.Int32,
    "n_policies": pl.Int32,
    "pearson": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "spearman": pl.Float64,
    "kendall": pl.Float64,
    "critical_pearson": pl.Float64,
    "critical_spearman": pl.Float64,
    "p_exact": pl.Float64,
    "p_shared": pl.Float64,
    "smallest_p": pl.Float64,
    "q": pl.Float64,
    "note": pl.String,
}


def predictor_statistics(pairs: pl.DataFrame) -> pl.DataFrame:
    """Statistics of every cell and policy, and over the policies of a cell with two or more, with SCHEMA.

    pairs: one row per CELL, policy and reward model, with predictor_value, target_value and paper_table. Null for
    what is not defined or not tested; `note` has the reason. q is Benjamini and Hochberg's over the tests of a study
    and target.

    Raises ValueError for a value that is not finite, and for a reward model that is listed twice for a policy.
    """
    pairs = pairs.drop_nulls(["predictor_value", "target_value"]).sort(*CELL, "policy", "reward_model")
    if not np.isfinite(pairs.select("predictor_value", "target_value").to_numpy()).all():
        raise ValueError("predictor_statistics: a value is not a finite number")
    if pairs.select(*CELL, "policy", "reward_model").is_duplicated().any():
        raise ValueError("predictor_statistics: a reward model is there twice for a policy")
    rows = []
    for key, cell in pairs.group_by(*CELL, maintain_order=True):
        tables = ", ".join(sorted(cell["paper_table"].unique()))
        cases = dict(zip(CELL, key, strict=True)) | {"basis": PUBLISHED, "paper_tables": tables}
        rows += [cases | row for row in _cell_rows(cell)]
    frame = _frame(rows)
    groups = [_with_q(group) for _, group in frame.group_by("study_id", "target", maintain_order=True)]
    return pl.concat(groups) if groups else frame


def printed_statistics(printed: pl.DataFrame) -> pl.DataFrame:
    """Interval and critical values of printed coefficients, with SCHEMA.

    printed: one row per study_id, paper_table, predictor and target, with n, pearson and spearman. Without the rows
    behind them there is no permutation test: |rho| is compared with its critical value.
    """
    rows = []
    for row in printed.sort("study_id", "paper_table", "predictor", "target").to_dicts():
        low, high = fisher_interval(row["pearson"], row["n"])
        rows.append(
            {name: row[name] for name in ("study_id", "predictor", "target", "n", "pearson", "spearman")}
            | {"basis": PRINTED, "paper_tables": row["paper_table"], "policy": f"that of {row['paper_table']}"}
            | {"gold": "as in the paper", "method": "as in the paper", "selection": "all", "n_policies": 1}
            | {"low": low, "high": high, "critical_pearson": critical_r(row["n"])}
            | {"critical_spearman": critical_spearman(row["n"])}
            | {"note": "as printed; the gains behind it are not printed, so there is no permutation test"}
        )
    return _frame(rows)


def _frame(rows: list[dict[str, object]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={**SCHEMA}, orient="row").with_columns(cs.float().fill_nan(None))


def fisher_interval(r: float, n: int) -> tuple[float, float]:
    """95 % interval of Pearson's r of n cases; NaN for fewer than four, or where |r| is 1."""
    if n < 4 or not abs(r) < 1:
        return math.nan, math.nan
    reach = float(stats.norm.ppf((1 + SCORE_LEVEL) / 2)) / math.sqrt(n - 3)
    return math.tanh(math.atanh(r) - reach), math.tanh(math.atanh(r) + reach)


@cache
def critical_spearman(n: int) -> float:
    """Smallest |rho| whose exact two-sided p is 0.05 or less, without ties; NaN where even 1 has a larger p.

    0.886 for n = 6. For more than MOST_ENUMERATED cases the t approximation (`critical_r`).
    """
    if n > MOST_ENUMERATED:
        return critical_r(n)
    ranks = np.arange(n, dtype=float)
    found = np.sort(np.abs(_correlations(_all_orders(ranks), ranks)))[::-1]
    # p of the k-th largest value is the share of orders that reach it, equal values included.
    reached = [value for value in np.unique(found.round(9)) if np.mean(found >= value - SMALLEST_DIFFERENCE) <= 0.05]
    return float(min(reached)) if reached else math.nan


def permutation_p(x: Floats, y: Floats) -> float:
    """Two-sided p of Spearman's rho of x and y (n,) under all permutations of x, or N_DRAWS: (hits + 1)/(draws + 1)."""
    x, y = stats.rankdata(x), stats.rankdata(y)
    observed = abs(float(np.corrcoef(x, y)[0, 1]))
    if len(x) <= MOST_ENUMERATED:
        return float(np.mean(np.abs(_correlations(_all_orders(x), y)) >= observed - SMALLEST_DIFFERENCE))
    orders = np.random.default_rng(0).permuted(np.tile(x, (N_DRAWS, 1)), axis=1)
    hits = int(np.sum(np.abs(_correlations(orders, y)) >= observed - SMALLEST_DIFFERENCE))
    return (hits + 1) / (N_DRAWS + 1)


def shared_permutation_p(x: Floats, y: Floats) -> tuple[float, float]:
    """Two-sided p of the mean of Spearman's rho within policies, and the smallest p that the permutations allow.

    x, y: (policies, reward models). One permutation of the reward models holds in every policy, because a reward model
    keeps its nature from policy to policy. All permutations are computed: at most MOST_ENUMERATED reward models.
    """
    x, y = stats.rankdata(x, axis=1), stats.rankdata(y, axis=1)
    orders = np.array(list(permutations(range(x.shape[1]))))
    means = np.mean([_correlations(row[orders], other) for row, other in zip(x, y, strict=True)], axis=0)
    found = np.abs(means)  # the first order is the observed one
    smallest = np.mean(found >= found.max() - SMALLEST_DIFFERENCE)
    return float(np.mean(found >= found[0] - SMALLEST_DIFFERENCE)), float(smallest)


def _all_orders(values: Floats) -> Floats:
    return np.array(list(permutations(values)))


def _correlations(rows: Floats, y: Floats) -> Floats:
    """Pearson's r of each row (rows, n) with y (n,)."""
    rows, y = rows - rows.mean(axis=1, keepdims=True), y - y.mean()
    return np.asarray(rows @ y / (np.linalg.norm(rows, axis=1) * np.linalg.norm(y)))


def _cell_rows(cell: pl.DataFrame) -> list[dict[str, object]]:
    """One row per policy, and four over the policies where there are several."""
    rows = [
        {"policy": policy, "n_policies": 1, **_single(*_values(part))}
        for (policy,), part in cell.group_by("policy", maintain_order=True)
    ]
    return rows + (_over_policies(cell) if len(rows) > 1 else [])


def _values(frame: pl.DataFrame) -> tuple[Floats, Floats]:
    return frame["predictor_value"].to_numpy(), frame["target_value"].to_numpy()


def _single(x: Floats, y: Floats) -> dict[str, object]:
    """Statistics of one sample of cases, each of its own; tested from MINIMUM_FOR_A_TEST cases on."""
    n = len(x)
    row: dict[str, object] = {"n": n}
    if problem := _undefined(x, y):
        return row | {"note": problem}
    row |= _coefficients(x, y)
    low, high = fisher_interval(float(stats.pearsonr(x, y).statistic), n)
    row |= {"low": low, "high": high}
    if n < MINIMUM_FOR_A_TEST:
        return row | {"note": f"no test: {n} reward models are too few"}
    return row | {
        "critical_pearson": critical_r(n),
        "critical_spearman": critical_spearman(n),
        "p_exact": permutation_p(x, y),
    }


def _undefined(x: Floats, y: Floats) -> str:
    """Reason why two samples have no correlation, or ""."""
    if len(x) < 3:
        return f"no correlation: {len(x)} cases are too few"
    for name, values in (("predictor", x), ("target", y)):
        if np.ptp(values) < SMALLEST_DIFFERENCE:
            return f"no correlation: the {name} is the same everywhere"
    return ""


def _coefficients(x: Floats, y: Floats) -> dict[str, float]:
    statistics: dict[str, Callable[..., object]] = {
        "pearson": stats.pearsonr,
        "spearman": stats.spearmanr,
        "kendall": stats.kendalltau,
    }
    return {name: float(function(x, y).statistic) for name, function in statistics.items()}  # type: ignore[attr-defined]


def _over_policies(cell: pl.DataFrame) -> list[dict[str, object]]:
    """The rows `within`, `between`, `pooled` and `centred` of a cell with several policies."""
    n_policies, n_models = cell["policy"].n_unique(), cell["reward_model"].n_unique()
    common = {"n_policies": n_policies}
    if cell.height != n_policies * n_models:
        note = "not computed: not every reward model taught every policy"
        return [{"policy": WITHIN, "n": n_models, "note": note, **common}]
    # Sorted by policy and reward model: one row per policy, the reward models in the same order.
    x, y = (values.reshape(n_policies, n_models) for values in _values(cell))
    own_x, own_y = (values - values.mean(axis=1, keepdims=True) for values in (x, y))
    note = f"no test: {x.size} rows of the same {n_models} reward models and {n_policies} policies are not independent"
    return [
        {"policy": WITHIN, **common, **_within(x, y)},
        {"policy": BETWEEN, **common, **_between(x.mean(axis=1), y.mean(axis=1))},
        {"policy": POOLED, **common, **_without_test(x.ravel(), y.ravel(), note)},
        {"policy": CENTRED, **common, **_without_test(own_x.ravel(), own_y.ravel(), note)},
    ]


def _within(x: Floats, y: Floats) -> dict[str, object]:
    """Means of the coefficients within policies; x, y: (policies, reward models)."""
    n_policies, n = x.shape
    row: dict[str, object] = {"n": n}
    for one, other in zip(x, y, strict=True):
        if problem := _undefined(one, other):
            return row | {"note": problem}
    each = [_coefficients(one, other) for one, other in zip(x, y, strict=True)]
    row |= {name: float(np.mean([one[name] for one in each])) for name in each[0]}
    if n > MOST_ENUMERATED:
        return row | {"note": f"no test: more than {MOST_ENUMERATED} reward models"}
    p, smallest = shared_permutation_p(x, y)
    note = (
        f"means over {n_policies} policies; the unit is the reward model (n = {n}): no interval, and no p below "
        f"1/{math.factorial(n)} is possible"
    )
    return row | {"p_shared": p, "smallest_p": smallest, "note": note}


def _between(x: Floats, y: Floats) -> dict[str, object]:
    """The correlation of the policies' means; x, y: (policies,)."""
    row = _single(x, y)
    if "pearson" in row and len(x) < MINIMUM_FOR_A_TEST:
        row["note"] = f"no test: {len(x)} policies are too few"
    elif "pearson" in row:
        row["note"] = "means of the policies: whether policies differ, not reward models"
    return row


def _without_test(x: Floats, y: Floats, note: str) -> dict[str, object]:
    problem = _undefined(x, y)
    return {"n": x.size, "note": problem or note, **({} if problem else _coefficients(x, y))}


def _with_q(group: pl.DataFrame) -> pl.DataFrame:
    """Benjamini-Hochberg q over the tests of a study and target."""
    p = group.select(pl.coalesce("p_shared", "p_exact")).to_series().to_numpy()
    tested = np.isfinite(p.astype(float))
    q = np.full(len(p), np.nan)
    if tested.any():
        q[tested] = stats.false_discovery_control(p[tested], method="bh")
    return group.with_columns(pl.Series("q", q, pl.Float64).fill_nan(None))
