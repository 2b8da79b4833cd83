"""The matrix that predictors read: the features, log10 size and a code of the family, with named columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from models_train.selection.errors import SelectionError, TooLittleData
from models_train.selection.features import (
    LOG_SIZE,
    MIN_PUBLISHERS,
    MIX,
    PLACEBO,
    SIZE,
    TOKENS,
    FeatureTable,
)

ELASTIC_NET, WITH_MIX, WITH_PLACEBO = "elastic_net", "elastic_net_with_mix", "elastic_net_with_placebo"
"""The elastic net of the paper, with the features of the pre-training mix, and with their placebo instead."""
MAX_FOLDS = 12
"""With more publishers, small ones share an outer fold (whole), because triples of folds are left out together."""


@dataclass(frozen=True)
class Columns:
    """Column numbers in the design matrix. elastic_net: benchmarks, params_b and tokens_t, as in the paper.

    mix, placebo: features of the pre-training mix and as many placebo features; both empty without a mix.
    """

    benchmarks: tuple[int, ...]
    elastic_net: tuple[int, ...]
    log_size: int
    size: int
    tokens: int | None
    family: int
    mix: tuple[int, ...] = ()
    placebo: tuple[int, ...] = ()

    @property
    def nets(self) -> dict[str, tuple[int, ...]]:
        """Columns of every elastic net; those with mix and placebo only where there is a mix."""
        found = {ELASTIC_NET: self.elastic_net}
        if self.mix and self.placebo:
            found |= {WITH_MIX: self.elastic_net + self.mix, WITH_PLACEBO: self.elastic_net + self.placebo}
        return found


@dataclass(frozen=True)
class Design:
    """Rows with a result first. matrix: (rows, columns); targets: (observed rows, targets); folds: (observed rows,).

    fold_names: the publisher left out in each fold (several, joined by ` + `, where folds are shared).
    """

    table: FeatureTable
    columns: Columns
    matrix: np.ndarray
    rows: np.ndarray
    targets: np.ndarray
    folds: np.ndarray
    fold_names: tuple[str, ...]

    @property
    def n_observed(self) -> int:
        return int(self.targets.shape[0])

    def features_of(self, predictor: str) -> tuple[int, ...]:
        """Columns whose values a predictor may rest on: all but the family's, the mix and its placebo for their own."""
        more = {WITH_MIX: self.columns.mix, WITH_PLACEBO: self.columns.placebo}.get(predictor, ())
        ordinary = (i for i, kind in enumerate(self.table.kinds) if kind not in (MIX, PLACEBO))
        return tuple(sorted((*ordinary, *more)))

    @property
    def publishers(self) -> np.ndarray:
        """Publisher of each observed row."""
        return np.array(self.table.publishers)[self.rows[: self.n_observed]]

    @property
    def model_ids(self) -> tuple[str, ...]:
        """Model of each row, observed rows first."""
        return tuple(self.table.model_ids[row] for row in self.rows)


def target_values(results: pl.DataFrame, objective: str, target: str) -> dict[str, float]:
    """Finite results per model of one objective and target; a null is a model without a result.

    Raises SelectionError if a result is NaN or infinite, outside 0 to 100 percent points, or given twice;
    TooLittleData if there is none.
    """
    for name in ("objective", "model_id", target):
        if name not in results.columns:
            raise SelectionError(f"the results frame lacks the column {name}")
    rows = results.filter(pl.col("objective") == objective, pl.col(target).is_not_null())
    values: dict[str, float] = {}
    for model, value in rows.select("model_id", pl.col(target).cast(pl.Float64)).iter_rows():
        if model in values:
            raise SelectionError(f"{objective}: model {model} has more than one result; keep one")
        if not np.isfinite(value) or not 0 <= value <= 100:
            raise SelectionError(
                f"{objective}: {target} of model {model} is {value}, not a number from 0 to 100; "
                "leave it empty if the reward model failed"
            )
        values[model] = value
    if not values:
        raise TooLittleData(f"{objective}: no model has a {target}")
    return values


def design(table: FeatureTable, targets: np.ndarray) -> Design:
    """Order observed rows first and add log10 size and the family code.

    targets: (models of the table, targets), NaN exactly where a model is not observed.
    Raises TooLittleData with fewer than four publishers, fewer than three models outside the three largest, or a
    target that does not vary; SelectionError for NaN in an observed row.
    """
    rows = np.concatenate([np.flatnonzero(table.observed), np.flatnonzero(~table.observed)])
    n_observed = int(table.observed.sum())
    observed_targets = targets[rows[:n_observed]]
    if not np.isfinite(observed_targets).all():
        row = rows[int(np.flatnonzero(~np.isfinite(observed_targets).all(axis=1))[0])]
        raise SelectionError(f"model {table.model_ids[row]} counts as observed but has a target that is not a number")
    if (np.ptp(observed_targets, axis=0) == 0).any():
        raise TooLittleData("every model has the same result; there is nothing to predict")
    publishers = [table.publishers[row] for row in rows[:n_observed]]
    if len(set(publishers)) < MIN_PUBLISHERS:
        raise TooLittleData(
            f"the models come from {len(set(publishers))} publisher(s) ({', '.join(sorted(set(publishers)))}); "
            f"leaving one publisher out, nested, needs at least {MIN_PUBLISHERS}"
        )
    folds, fold_names = publisher_folds(publishers)
    largest_three = np.sort(np.bincount(folds))[-3:].sum()
    if n_observed - largest_three < 3:
        raise TooLittleData(
            f"without the three largest publishers {n_observed - largest_three} model(s) would be left to learn from; "
            "three are needed"
        )
    codes = {family: code for code, family in enumerate(sorted(set(table.families)))}
    family = np.array([codes[table.families[row]] for row in rows], dtype=float)
    return Design(
        table=table,
        columns=_columns(table),
        matrix=np.column_stack([table.values[rows], family]),
        rows=rows,
        targets=observed_targets,
        folds=folds,
        fold_names=fold_names,
    )


def publisher_folds(publishers: list[str], max_folds: int = MAX_FOLDS) -> tuple[np.ndarray, tuple[str, ...]]:
    """One fold per publisher, in alphabetical order; beyond `max_folds`, the largest first into the smallest fold.

    Returns (fold number per model, fold names).
    """
    names, sizes = np.unique(publishers, return_counts=True)
    if len(names) <= max_folds:
        members = [[str(name)] for name in names]
    else:
        members, filled = [[] for _ in range(max_folds)], [0] * max_folds
        for index in np.lexsort((names, -sizes)):
            smallest = filled.index(min(filled))
            members[smallest].append(str(names[index]))
            filled[smallest] += int(sizes[index])
    fold_of = {name: fold for fold, group in enumerate(members) for name in group}
    return np.array([fold_of[name] for name in publishers]), tuple(" + ".join(group) for group in members)


def _columns(table: FeatureTable) -> Columns:
    def position(name: str) -> int:
        return table.names.index(name)

    tokens = position(TOKENS) if TOKENS in table.names else None
    benchmarks = table.of_kind("benchmark")
    others = tuple(i for i in table.of_kind("training") if table.names[i] != LOG_SIZE)
    mix = table.of_kind(MIX)
    return Columns(
        benchmarks=benchmarks,
        elastic_net=benchmarks + others,
        log_size=position(LOG_SIZE),
        size=position(SIZE),
        tokens=tokens,
        family=len(table.names),
        mix=mix,
        placebo=table.of_kind(PLACEBO)[: len(mix)],
    )
