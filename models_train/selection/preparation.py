"""What is learnt from the training rows before any model is fitted: scales, imputed cells, polynomial terms.

Everything here is fitted on the rows of one training set and applied to all rows, so nothing of a held-out row can
reach a model that predicts it.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from sklearn.impute import KNNImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

IMPUTATION_NEIGHBOURS = 5
IMPUTATION_METHOD = (
    f"mean of the {IMPUTATION_NEIGHBOURS} nearest training models (scikit-learn KNNImputer on standardised features)"
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
