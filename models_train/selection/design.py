"""The design of a study: the matrix that predictors read, its folds, and the preparation of a training set.

The matrix holds the features, log10 size and a code of the family, with named columns. Scales, imputed cells and
polynomial terms are fitted on the rows of one training set and applied to all rows, so that nothing of a held-out row
reaches a model that predicts it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import numpy as np
import polars as pl
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn import config_context
from sklearn.impute import KNNImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from threadpoolctl import threadpool_limits

from models_train.errors import UserError
from models_train.selection.features import (
    LOG_SIZE,
    MIN_PUBLISHERS,
    MIX,
    SIZE,
    TOKENS,
    FeatureTable,
    TooLittleData,
)
from models_train.selection.other_studies import Learned, OtherModel, learned_rows, recipe_effects, standardised
from models_train.selection.pipelines import Joined, joined_cells, with_offsets

IMPUTATION_NEIGHBOURS = 5
MAX_FOLDS = 12
"""With more publishers, small ones share an outer fold (whole), because triples of folds are left out together."""


@dataclass(frozen=True)
class Columns:
    """Column numbers in the design matrix. elastic_net: benchmarks, params_b and tokens_t, as in the paper.

    mix: features of the pre-training mix; empty without one.
    """

    benchmarks: tuple[int, ...]
    elastic_net: tuple[int, ...]
    log_size: int
    size: int
    tokens: int | None
    family: int
    mix: tuple[int, ...] = ()


@dataclass(frozen=True)
class Design:
    """Rows with a result first. matrix: (rows, columns); targets: (observed rows, targets); folds: (observed rows,).

    learned: trained reward models of other studies, whose rows follow, before the candidates; None without any.

    groups: (observed rows,), the publisher of each, or the publishers whose models have common ancestors, joined by
    ` + `. fold_names: the group left out in each fold (several, joined likewise, where folds are shared).
    """

    table: FeatureTable
    columns: Columns
    matrix: np.ndarray
    rows: np.ndarray
    targets: np.ndarray
    groups: np.ndarray
    folds: np.ndarray
    fold_names: tuple[str, ...]
    joined: tuple[Joined, ...] = ()
    learned: Learned | None = None

    def training_rows(self, left: Collection[int], with_learned: bool = False) -> np.ndarray:
        """Observed rows outside the folds `left`, and rows of other studies that are not left out with these."""
        own = np.flatnonzero(~np.isin(self.folds, list(left)))
        if not with_learned or self.learned is None:
            return own
        others = np.flatnonzero(~self.learned.folds[:, list(left)].any(axis=1))
        return np.concatenate([own, self.n_observed + others])

    def matrix_for(self, train: np.ndarray) -> np.ndarray:
        """The matrix as a fit on the rows `train` may see it: offsets of pipelines from these rows alone."""
        return with_offsets(self.matrix, self.joined, train)

    def targets_for(self, train: np.ndarray, matrix: np.ndarray) -> np.ndarray:
        """Targets of the rows `train`, (rows, targets), those of other studies less the effect of their recipe.

        The effect is estimated from these rows alone. matrix: of `matrix_for` these rows.
        """
        if self.learned is None or (train < self.n_observed).all():
            return self.targets[train]
        inside, targets, studies, clusters = self.recipe_inputs(train, matrix)
        shrunk = recipe_effects(inside, targets, studies, clusters, len(self.learned.names)).shrunk
        return targets - np.where((studies >= 0)[:, None], shrunk[studies], 0.0)

    def recipe_inputs(self, train: np.ndarray, matrix: np.ndarray) -> tuple[np.ndarray, ...]:
        """Covariates, targets, studies and publishers of the rows `train`, as `recipe_effects` takes them."""
        if self.learned is None:
            raise ValueError("the design has no rows of other studies")
        studies = np.concatenate([np.full(self.n_observed, -1), self.learned.studies])[train]
        targets = np.concatenate([self.targets, self.learned.targets])[train]
        inside = standardised(matrix[train][:, [*self.columns.elastic_net, self.columns.log_size]])
        return inside, targets, studies, self.learned.clusters[train]

    @property
    def n_trained(self) -> int:
        """Rows with a result: the observed ones and those of other studies."""
        return self.n_observed + (0 if self.learned is None else self.learned.studies.size)

    @property
    def n_observed(self) -> int:
        return int(self.targets.shape[0])

    @property
    def model_ids(self) -> tuple[str, ...]:
        """Model of each row, observed rows first."""
        return tuple(self.table.model_ids[row] for row in self.rows)


@contextmanager
def small_systems() -> Iterator[None]:
    """For thousands of fits of 40 models: one thread (more only wait for each other), no checks of the input."""
    with threadpool_limits(1), config_context(assume_finite=True, skip_parameter_validation=True):
        yield


def target_values(results: pl.DataFrame, objective: str, target: str) -> dict[str, float]:
    """Finite results per model of one objective and target; a null is a model without a result.

    Raises UserError if a result is NaN or infinite, more than a point outside 0 to 100, or given twice;
    TooLittleData if there is none.
    """
    for name in ("objective", "model_id", target):
        if name not in results.columns:
            raise UserError(f"the results frame lacks the column {name}")
    rows = results.filter(pl.col("objective") == objective, pl.col(target).is_not_null())
    values: dict[str, float] = {}
    for model, value in rows.select("model_id", pl.col(target).cast(pl.Float64)).iter_rows():
        if model in values:
            raise UserError(f"{objective}: model {model} has more than one result; keep one")
        if not np.isfinite(value) or not -1 <= value <= 101:  # a score of Ties may lie a point outside of 0 to 100
            raise UserError(
                f"{objective}: {target} of model {model} is {value}, not a number from 0 to 100; "
                "leave it empty if the reward model failed"
            )
        values[model] = value
    if not values:
        raise TooLittleData(f"{objective}: no model has a {target}")
    return values


def design(
    table: FeatureTable,
    targets: np.ndarray,
    lineages: Mapping[str, str] | None = None,
    pipelines: tuple[pl.DataFrame, pl.DataFrame] | None = None,
    others: Mapping[str, OtherModel] | None = None,
) -> Design:
    """Order observed rows first and add log10 size and the family code.

    targets: (models of the table, targets), NaN exactly where a model is not observed. lineages: model -> the model
    that its post-training began from; publishers with a lineage in common are left out together (None: one by one).
    pipelines: the long feature frame and the values of all pipelines, for offsets inside folds (`joined_cells`).
    others: models of the table that other studies trained reward models on, which have targets and are not observed.
    Raises TooLittleData with fewer than four publishers, fewer than three models outside the three largest, or a
    target that does not vary; UserError for NaN in an observed row.
    """
    elsewhere = np.isin(table.model_ids, list(others or {}))
    parts = (table.observed, elsewhere, ~table.observed & ~elsewhere)
    rows = np.concatenate([np.flatnonzero(part) for part in parts])
    n_observed = int(table.observed.sum())
    observed_targets = targets[rows[:n_observed]]
    if not np.isfinite(observed_targets).all():
        row = rows[int(np.flatnonzero(~np.isfinite(observed_targets).all(axis=1))[0])]
        raise UserError(f"model {table.model_ids[row]} counts as observed but has a target that is not a number")
    if (np.ptp(observed_targets, axis=0) == 0).any():
        raise TooLittleData("every model has the same result; there is nothing to predict")
    publishers = [table.publishers[row] for row in rows[:n_observed]]
    if lineages:
        ancestors = [lineages.get(table.model_ids[row], table.model_ids[row]) for row in rows[:n_observed]]
        publishers = connected_publishers(publishers, ancestors)
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
        groups=np.array(publishers),
        folds=folds,
        fold_names=fold_names,
        joined=joined_cells(
            *pipelines, table.names, [table.model_ids[row] for row in rows], n_observed + int(elsewhere.sum())
        )
        if pipelines
        else (),
        learned=_learned(table, targets, rows[: n_observed + int(elsewhere.sum())], folds, lineages, others)
        if elsewhere.any() and others
        else None,
    )


def _learned(
    table: FeatureTable,
    targets: np.ndarray,
    rows: np.ndarray,
    folds: np.ndarray,
    lineages: Mapping[str, str] | None,
    others: Mapping[str, OtherModel],
) -> Learned:
    """Rows of other studies: left out with every fold that has their publisher, their base model, or their lineage."""
    ids = [table.model_ids[row] for row in rows]
    models = [others[name].model_id if name in others else name for name in ids]
    labels = connected_publishers([table.publishers[row] for row in rows], models)
    if lineages:
        ancestors = [others[name].lineage if name in others else lineages.get(name, name) for name in ids]
        labels = connected_publishers(labels, ancestors)
    studies = [others[name].study_id for name in ids[folds.size :]]
    names = tuple(sorted(set(studies)))
    return learned_rows(names, studies, targets[rows[folds.size :]], np.array(labels), folds)


def connected_publishers(publishers: Sequence[str], lineages: Sequence[str]) -> list[str]:
    """Per model the publishers that are connected to its own by common lineages, in alphabetical order, by ` + `."""
    names, publisher = np.unique(publishers, return_inverse=True)
    roots, root = np.unique(lineages, return_inverse=True)
    edges = coo_array((np.ones(publisher.size), (publisher, len(names) + root)), shape=(len(names) + len(roots),) * 2)
    _, component = connected_components(edges, directed=False)
    together = component[: len(names)]
    joined = {int(one): " + ".join(names[together == one]) for one in np.unique(together)}
    return [joined[int(together[index])] for index in publisher]


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
    return Columns(
        benchmarks=benchmarks,
        elastic_net=benchmarks + others,
        log_size=position(LOG_SIZE),
        size=position(SIZE),
        tokens=tokens,
        family=len(table.names),
        mix=table.of_kind(MIX),
    )


def standardise_and_impute() -> Pipeline:
    """Standardise (missing cells ignored), then fill a missing cell from the nearest training models.

    A feature without any value in the training rows becomes the constant 0 and so gets no weight.
    """
    return make_pipeline(
        StandardScaler(),
        KNNImputer(n_neighbors=IMPUTATION_NEIGHBOURS, keep_empty_features=True),
    )


class Prepared:
    """The terms of degree 1, 2 and 3 of one training set, and the same terms for every row.

    values: (rows, features), NaN where missing; train: row numbers of the training set, repeats allowed (bootstrap).
    """

    def __init__(self, values: np.ndarray, train: np.ndarray, names: tuple[str, ...]) -> None:
        self.names = names
        self.train = train
        self.n_rows = values.shape[0]
        with np.errstate(invalid="ignore", divide="ignore"):
            preparation = standardise_and_impute().fit(values[train])
            self._all = preparation.transform(values)
        self._scaled: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def terms(self, degree: int) -> np.ndarray:
        """(terms, training rows), C order, each row standardised on the training rows."""
        return self._terms(degree)[0]

    def all_rows(self, degree: int) -> np.ndarray:
        """(rows, terms), on the training scale."""
        return self._terms(degree)[1]

    def term_names(self, degree: int) -> tuple[str, ...]:
        """Names of the terms: `a`, `a^2`, `a x b`."""
        return _term_names(self.names, degree)

    def _terms(self, degree: int) -> tuple[np.ndarray, np.ndarray]:
        if degree not in self._scaled:
            expanded = self._expansion(degree).transform(self._all)
            everywhere = StandardScaler().fit(expanded[self.train]).transform(expanded)
            self._scaled[degree] = np.ascontiguousarray(everywhere[self.train].T), everywhere
        return self._scaled[degree]

    def _expansion(self, degree: int) -> PolynomialFeatures:
        return PolynomialFeatures(degree=degree, include_bias=False).fit(self._all[:1])


@cache
def _term_names(names: tuple[str, ...], degree: int) -> tuple[str, ...]:
    """Made once for all training sets: a bootstrap has a thousand of them with the same features."""
    expansion = PolynomialFeatures(degree=degree, include_bias=False).fit(np.zeros((1, len(names))))
    return tuple(
        _readable(name, names) for name in expansion.get_feature_names_out([f"<{i}>" for i in range(len(names))])
    )


def _readable(name: str, names: tuple[str, ...]) -> str:
    """`<0> <2>^2` becomes `ifeval x params_b^2`; placeholders keep spaces inside feature names apart."""
    factors = []
    for factor in name.split(" "):
        placeholder, _, power = factor.partition("^")
        base = names[int(placeholder[1:-1])]
        factors.append(f"{base}^{power}" if power else base)
    return " x ".join(factors)
