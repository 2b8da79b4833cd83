"""Does a property of a reward model say what it teaches? Correlations over reward models, with exact tests.

A reward model that taught several policies is one case, not several: beside each policy there are the mean of the
correlations within policies, tested by the same permutation of reward models in every policy, and the correlation
between the means of the policies. Fewer than MINIMUM_FOR_A_TEST cases are listed without a test. What was measured here
has intervals from a bootstrap over base models (`predictor_bootstrap`), published rows have Fisher's.
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
from models_train.selection.predictor_bootstrap import (
    partial_spearman,
    resample,
    resampled_coefficients,
    resampled_partials,
)
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

PUBLISHED, PRINTED, OWN = "published", "printed", "own"
"""`basis` of a row: computed from published figures of single reward models; a printed coefficient; measured here."""

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
    "spearman_low": pl.Float64,
    "spearman_high": pl.Float64,
    "kendall": pl.Float64,
    "critical_pearson": pl.Float64,
    "critical_spearman": pl.Float64,
    "p_exact": pl.Float64,
    "p_shared": pl.Float64,
    "smallest_p": pl.Float64,
    "q": pl.Float64,
    "note": pl.String,
}


def predictor_statistics(pairs: pl.DataFrame, resamples: int = 0) -> pl.DataFrame:
    """Statistics of every cell and policy, and over the policies of a cell with two or more, with SCHEMA.

    pairs: one row per CELL, policy and reward model, with predictor_value, target_value and paper_table. Null for
    what is not defined or not tested; `note` has the reason. q is Benjamini and Hochberg's over the tests of a study
    and target. resamples: 0 for published figures. Else the pairs were measured here: they have base_model, null for
    one that is not known, and the intervals are those of a bootstrap over base models.

    Raises ValueError for a value that is not finite, and for a reward model that is listed twice for a policy.
    """
    pairs = checked_pairs(pairs)
    rows = []
    for key, cell in pairs.group_by(*CELL, maintain_order=True):
        cases: dict[str, object] = dict(zip(CELL, key, strict=True))
        if resamples:
            cases |= {"basis": OWN, "paper_tables": "none"}
            rows += [cases | row for row in _own_rows(cell, resamples, "/".join(map(str, key)))]
        else:
            cases |= {"basis": PUBLISHED, "paper_tables": ", ".join(sorted(cell["paper_table"].unique()))}
            rows += [cases | row for row in _cell_rows(cell)]
    frame = _frame(rows)
    groups = [_with_q(group) for _, group in frame.group_by("study_id", "target", maintain_order=True)]
    return pl.concat(groups) if groups else frame


def checked_pairs(pairs: pl.DataFrame) -> pl.DataFrame:
    """Pairs with both values, in an order that their rows do not decide; errors as of `predictor_statistics`."""
    pairs = pairs.drop_nulls(["predictor_value", "target_value"]).sort(*CELL, "policy", "reward_model")
    if not np.isfinite(pairs.select("predictor_value", "target_value").to_numpy()).all():
        raise ValueError("predictor_statistics: a value is not a finite number")
    if pairs.select(*CELL, "policy", "reward_model").is_duplicated().any():
        raise ValueError("predictor_statistics: a reward model is there twice for a policy")
    return pairs


REFERENCES = ("on_policy_accuracy", "rewardbench")
"""Predictors that every other one is compared with."""
COMPARISONS: Mapping[str, type[pl.DataType]] = {
    **dict.fromkeys(("study_id", "gold", "method", "selection", "target", "policy"), pl.String),
    **dict.fromkeys(("predictor", "reference"), pl.String),
    **dict.fromkeys(("n", "n_policies"), pl.Int32),
    **dict.fromkeys(("spearman", "reference_spearman", "difference", "low", "high"), pl.Float64),
    **dict.fromkeys(("partial_spearman", "partial_low", "partial_high"), pl.Float64),
    "note": pl.String,
}


def predictor_comparisons(pairs: pl.DataFrame, resamples: int) -> pl.DataFrame:
    """Every predictor against the REFERENCES, on the reward models that have both with every policy: COMPARISONS.

    pairs: as of `predictor_statistics`, measured here. Coefficients are means over the policies, `within`, or those of
    the one policy. difference: Spearman's rho of the predictor minus that of the reference. partial_spearman: rank
    correlation of predictor and target given the reference, above 0 where the predictor adds to it. Intervals: the same
    resamples of base models for both predictors. Null, with the note, where something is not defined.
    """
    pairs = checked_pairs(pairs)
    groups = [name for name in CELL if name != "predictor"]
    rows: list[dict[str, object]] = []
    for key, cell in pairs.group_by(*groups, maintain_order=True):
        of_predictor = {str(name): part for (name,), part in cell.group_by("predictor", maintain_order=True)}
        for reference in (name for name in REFERENCES if name in of_predictor):
            for predictor, part in of_predictor.items():
                if predictor == reference or predictor in REFERENCES[: REFERENCES.index(reference)]:
                    continue
                known = dict(zip(groups, key, strict=True)) | {"predictor": predictor, "reference": reference}
                name = "/".join(map(str, (*key, predictor, reference)))
                rows.append(known | _comparison(part, of_predictor[reference], resamples, name))
    return pl.DataFrame(rows, schema={**COMPARISONS}, orient="row").with_columns(cs.float().fill_nan(None))


def _comparison(part: pl.DataFrame, reference: pl.DataFrame, resamples: int, name: str) -> dict[str, object]:
    """One row of `predictor_comparisons`. part, reference: pairs of the two predictors."""
    other = reference.select("policy", "reward_model", pl.col("predictor_value").alias("reference_value"))
    both = part.join(other, on=["policy", "reward_model"], how="inner").sort("policy", "reward_model")
    policies = both["policy"].unique().sort().to_list()
    both = both.filter(pl.len().over("reward_model") == len(policies))
    n = both["reward_model"].n_unique()
    row: dict[str, object] = {"policy": policies[0] if len(policies) == 1 else WITHIN}
    row |= {"n": n, "n_policies": len(policies)}
    if n < MINIMUM_FOR_A_TEST:
        return row | {"note": f"no comparison: {n} reward models have both"}
    x, z, y = (
        both[column].to_numpy().reshape(len(policies), n)
        for column in ("predictor_value", "reference_value", "target_value")
    )
    for one, given, target in zip(x, z, y, strict=True):
        if problem := _undefined(one, target) or _undefined(given, target):
            return row | {"note": problem}
    rho, reference_rho = (
        float(np.mean([stats.spearmanr(one, target).statistic for one, target in zip(side, y, strict=True)]))
        for side in (x, z)
    )
    partial = float(np.mean([partial_spearman(*each) for each in zip(x, y, z, strict=True)]))
    row |= {"spearman": rho, "reference_spearman": reference_rho, "difference": rho - reference_rho}
    row |= {"partial_spearman": partial}
    draws = resample(base_groups(both.head(n)), resamples, name)
    if isinstance(draws, str):
        return row | {"note": draws}
    one, given = (resampled_coefficients(side, y, draws.counts, ranked=True) for side in (x, z))
    row["low"], row["high"] = draws.interval(one - given)
    if np.isfinite(partial):
        partials = draws.interval(resampled_partials(x, y, z, draws.counts))
        row["partial_low"], row["partial_high"] = partials
    return row


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
    found = np.sort(np.abs(_correlations(ranks[_orders(n)], ranks)))[::-1]
    # p of the k-th largest value is the share of orders that reach it, equal values included.
    reached = [value for value in np.unique(found.round(9)) if np.mean(found >= value - SMALLEST_DIFFERENCE) <= 0.05]
    return float(min(reached)) if reached else math.nan


def permutation_p(x: Floats, y: Floats) -> float:
    """Two-sided p of Spearman's rho of x and y (n,) under all permutations of x, or N_DRAWS: (hits + 1)/(draws + 1)."""
    return shared_permutation_p(x[None], y[None])[0]


def shared_permutation_p(x: Floats, y: Floats) -> tuple[float, float]:
    """Two-sided p of the mean of Spearman's rho within policies, and the smallest p that the permutations allow.

    x, y: (policies, reward models). One permutation of the reward models holds in every policy, because a reward model
    keeps its nature from policy to policy. All permutations are computed for up to MOST_ENUMERATED reward models, else
    N_DRAWS are drawn.
    """
    n = x.shape[1]
    one, other = (_standard_ranks(side) for side in (x, y))
    found = np.abs(sum(row[_orders(n)] @ own for row, own in zip(one, other, strict=True)) / len(one))
    observed = abs(float((one * other).sum() / len(one)))
    smallest = _share_reaching(found, max(float(found.max()), observed), n)
    return _share_reaching(found, observed, n), smallest


def _standard_ranks(values: Floats) -> Floats:
    """Ranks within each row, less their mean and over their norm: a product of two rows is Spearman's rho."""
    ranks = stats.rankdata(values, axis=1)
    ranks -= ranks.mean(axis=1, keepdims=True)
    return np.asarray(ranks / np.linalg.norm(ranks, axis=1, keepdims=True))


@cache
def _orders(n: int) -> NDArray[np.intp]:
    """All permutations of n places, the identity first; of more than MOST_ENUMERATED places N_DRAWS drawn ones."""
    if n <= MOST_ENUMERATED:
        return np.array(list(permutations(range(n))), np.intp)
    return np.random.default_rng(0).permuted(np.tile(np.arange(n), (N_DRAWS, 1)), axis=1)


def _share_reaching(found: Floats, observed: float, n: int) -> float:
    """Share of the permutations of n cases that are as far off; the observed order is one of them."""
    hits = int(np.sum(found >= observed - SMALLEST_DIFFERENCE))
    return hits / found.size if n <= MOST_ENUMERATED else (hits + 1) / (found.size + 1)


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
    p, smallest = shared_permutation_p(x, y)
    least = f"1/{math.factorial(n)}" if n <= MOST_ENUMERATED else f"1/{N_DRAWS + 1}"
    note = (
        f"means over {n_policies} policies; the unit is the reward model (n = {n}): no interval, and no p below "
        f"{least} is possible"
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


def _own_rows(cell: pl.DataFrame, resamples: int, name: str) -> list[dict[str, object]]:
    """Rows as of `_cell_rows`, of pairs measured here: over the policies for the reward models that all of them have.

    name: of the cell; it is the seed.
    """
    n_policies = cell["policy"].n_unique()
    everywhere = cell.filter(pl.len().over("reward_model") == n_policies)
    rows: list[dict[str, object]] = []
    for (policy,), part in cell.group_by("policy", maintain_order=True):
        x, y = _values(part)
        rows.append({"policy": policy, "n_policies": 1, **_single(x, y)})
        _add_intervals(rows[-1], x[None], y[None], part, resamples, f"{name}/{policy}")
    if n_policies == 1:
        return rows
    if everywhere["reward_model"].n_unique() < 3:
        note = "not computed: fewer than 3 reward models were measured with every policy"
        n = everywhere["reward_model"].n_unique()
        return [*rows, {"policy": WITHIN, "n": n, "n_policies": n_policies, "note": note}]
    over = _over_policies(everywhere)
    (within,) = (row for row in over if row["policy"] == WITHIN)
    x, y = (values.reshape(n_policies, -1) for values in _values(everywhere))
    _add_intervals(within, x, y, everywhere.head(x.shape[1]), resamples, f"{name}/{WITHIN}")
    if (n_all := cell["reward_model"].n_unique()) > x.shape[1]:
        for row in over:
            left = f"of {n_all} reward models the {x.shape[1]} that were measured with every policy"
            row["note"] = f"{row['note']}; {left}" if row.get("note") else left
    return [*rows, *over]


def _add_intervals(
    row: dict[str, object], x: Floats, y: Floats, models: pl.DataFrame, resamples: int, name: str
) -> None:
    """Put the bootstrap's intervals into a row with coefficients, or the reason for none into its note.

    x, y: (policies, reward models); models: base_model and reward_model of each, in this order.
    """
    if "pearson" not in row:
        return
    row |= {"low": None, "high": None}
    draws = resample(base_groups(models), resamples, name)
    if isinstance(draws, str):
        row["note"] = "; ".join(str(text) for text in (row.get("note"), draws) if text)
        return
    (row["low"], row["high"]), (row["spearman_low"], row["spearman_high"]) = (
        draws.interval(resampled_coefficients(x, y, draws.counts, ranked=ranked)) for ranked in (False, True)
    )
    if row["policy"] == WITHIN:
        n_policies, n = x.shape
        row["note"] = f"means over {n_policies} policies; the unit is the reward model (n = {n})"


def base_groups(models: pl.DataFrame) -> NDArray[np.str_]:
    """Base model of each reward model; one whose base is not known is a group of its own."""
    return models.select(pl.coalesce("base_model", "reward_model")).to_series().to_numpy().astype(str)


def _with_q(group: pl.DataFrame) -> pl.DataFrame:
    """Benjamini-Hochberg q over the tests of a study and target."""
    p = group.select(pl.coalesce("p_shared", "p_exact")).to_series().to_numpy()
    tested = np.isfinite(p.astype(float))
    q = np.full(len(p), np.nan)
    if tested.any():
        q[tested] = stats.false_discovery_control(p[tested], method="bh")
    return group.with_columns(pl.Series("q", q, pl.Float64).fill_nan(None))
