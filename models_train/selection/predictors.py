"""The named predictors besides the elastic net, as scikit-learn estimators over the design matrix.

Every estimator takes X (models, columns of the design) and y (models, targets), treats each target by itself, and does
its own imputation, scaling and choices inside `fit`, so a fold can leak nothing. Baselines of
definitions 5: `mean`, `log10_params`, `params_and_tokens`, `best_single_benchmark`. Attempts to beat size:
`pc_ridge` (observational scaling laws, Ruan et al. 2024), `family_size` (log10 size plus family random effect) and
`sigmoid_link` (an item-response curve: logit accuracy linear in capability and log size). The kernels of `family_size`
take rows whose last column is the code of the model family.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_transformer
from sklearn.decomposition import PCA
from sklearn.dummy import DummyRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct, Kernel, WhiteKernel
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, RidgeCV
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from models_train.selection.design import Columns, standardise_and_impute
from models_train.selection.features import LOG_SIZE

MEAN, ELASTIC_NET, WITH_MIX = "mean", "elastic_net", "elastic_net_with_mix"
SIMPLEST_FIRST = (
    MEAN,
    LOG_SIZE,
    "params_and_tokens",
    "best_single_benchmark",
    "family_size",
    "pc_ridge",
    "sigmoid_link",
    ELASTIC_NET,
)
"""All predictors but those made of others; on an exact tie nested selection takes the earlier one."""
AVERAGE, PLAIN_AVERAGE, SELECTED = "average", "average_without_shrinkage", "selected"
"""Made of the others: their equal-weight mean, shrunk to the mean of the results as far as held-out results ask for it
(it answers); the same without shrinkage; the one with the smallest inner error."""
COMBINED = (AVERAGE, PLAIN_AVERAGE, SELECTED)
SLOW = ("family_size", ELASTIC_NET)
"""Predictors whose fit takes an optimisation per target; left out where a thousand targets are fitted."""

N_COMPONENTS = 3
"""Principal components used as capability measures (Ruan et al. 2024 use three)."""
_RIDGE_PENALTIES = np.logspace(-2, 3, 11)
_LOGIT_EDGE = 0.005


def predictors(columns: Columns) -> dict[str, BaseEstimator]:
    """Fresh, unfitted estimators by name. `params_and_tokens` is absent if the study has no token counts."""
    capability = make_pipeline(standardise_and_impute(), PCA(_n_components(columns), svd_solver="full"))
    sized_capability = ColumnTransformer(
        [("capability", capability, list(columns.benchmarks)), ("size", _imputed_scaled(), [columns.log_size])]
    )
    size_and_family = ColumnTransformer(
        [("size", _imputed_scaled(), [columns.log_size]), ("family", "passthrough", [columns.family])]
    )
    family_effect = ConstantKernel(0.3, (1e-3, 1e2)) * FamilyKernel()
    noise = WhiteKernel(0.3, (1e-3, 1e1))
    line = ConstantKernel(0.5, (1e-3, 1e2)) * FeatureDotProduct(sigma_0=0.1, sigma_0_bounds="fixed")
    found: dict[str, BaseEstimator] = {
        MEAN: DummyRegressor(strategy="mean"),
        LOG_SIZE: make_pipeline(_pick([columns.log_size]), SimpleImputer(), LinearRegression()),
        "best_single_benchmark": BestSingleBenchmark(columns.benchmarks),
        "family_size": make_pipeline(size_and_family, _process(line + family_effect + noise)),
        "pc_ridge": make_pipeline(
            _pick(columns.benchmarks), capability, RidgeCV(alphas=_RIDGE_PENALTIES, alpha_per_target=True)
        ),
        "sigmoid_link": TransformedTargetRegressor(
            make_pipeline(sized_capability, RidgeCV(alphas=_RIDGE_PENALTIES, alpha_per_target=True)),
            func=points_to_logit,
            inverse_func=logit_to_points,
            check_inverse=False,
        ),
    }
    if columns.tokens is not None:
        found["params_and_tokens"] = make_pipeline(
            _pick([columns.size, columns.tokens]), SimpleImputer(), LinearRegression()
        )
    return {name: found[name] for name in SIMPLEST_FIRST if name in found}


def features_read(columns: Columns) -> dict[str, tuple[int, ...]]:
    """Columns of the design that each predictor reads, the code of the family apart."""
    size_and_tokens = () if columns.tokens is None else (columns.size, columns.tokens)
    return {
        MEAN: (),
        LOG_SIZE: (columns.log_size,),
        "params_and_tokens": size_and_tokens,
        "best_single_benchmark": columns.benchmarks,
        "family_size": (columns.log_size,),
        "pc_ridge": columns.benchmarks,
        "sigmoid_link": (*columns.benchmarks, columns.log_size),
        ELASTIC_NET: columns.elastic_net,
    }


def points_to_logit(points: np.ndarray) -> np.ndarray:
    """Percent points (0 to 100) to log odds; 0 and 100 themselves are moved inside by half a point."""
    return logit(np.clip(np.asarray(points) / 100, _LOGIT_EDGE, 1 - _LOGIT_EDGE))


def logit_to_points(values: np.ndarray) -> np.ndarray:
    """Log odds to percent points."""
    return 100 * expit(values)


class BestSingleBenchmark(RegressorMixin, BaseEstimator):
    """Straight line on the one benchmark with the largest |Pearson r| among the training models that have it.

    benchmarks: column numbers to choose from. After fit: `chosen_`, the column number per target.
    """

    def __init__(self, benchmarks: Sequence[int]) -> None:
        self.benchmarks = benchmarks

    def fit(self, X: np.ndarray, y: np.ndarray) -> BestSingleBenchmark:
        """X: (models, columns of the design); y: (models, targets)."""
        strengths = np.stack([_absolute_correlations(X[:, column], y) for column in self.benchmarks])
        positions = np.argmax(strengths, axis=0)
        self.chosen_ = [int(self.benchmarks[position]) for position in positions]
        self.preparation_ = standardise_and_impute().fit(X[:, list(self.benchmarks)])
        prepared = self.preparation_.transform(X[:, list(self.benchmarks)])
        self.lines_ = [
            (position, np.flatnonzero(positions == position)) for position in sorted(set(positions.tolist()))
        ]
        self.fitted_ = [LinearRegression().fit(prepared[:, [one]], y[:, targets]) for one, targets in self.lines_]
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """(models, targets), in the unit of the target."""
        prepared = self.preparation_.transform(X[:, list(self.benchmarks)])
        found = np.empty((X.shape[0], len(self.chosen_)))
        for (position, targets), line in zip(self.lines_, self.fitted_, strict=True):
            found[:, targets] = line.predict(prepared[:, [position]])
        return found


def climb(
    objective: Callable[[np.ndarray], tuple[float, np.ndarray]], start: np.ndarray, bounds: np.ndarray
) -> tuple[np.ndarray, float]:
    """L-BFGS-B on the negative log likelihood, ended once a step gains less than about 1e-4 nats."""
    found = minimize(objective, start, method="L-BFGS-B", jac=True, bounds=bounds, options={"ftol": 1e-5})
    return found.x, float(found.fun)


def _process(kernel: object) -> MultiOutputRegressor:
    return MultiOutputRegressor(QuietGaussianProcess(kernel))


class QuietGaussianProcess(GaussianProcessRegressor):
    """Gaussian process on the standardised target, maximum marginal likelihood, one deterministic start.

    A variance that the data push to its bound (no family effect, say) is an answer here and not worth a warning.
    """

    def __init__(self, kernel: object = None) -> None:
        super().__init__(kernel=kernel, normalize_y=True, alpha=1e-8, optimizer=climb)

    def fit(self, X: np.ndarray, y: np.ndarray) -> QuietGaussianProcess:
        """X: (models, columns), the family code last; y: (models,)."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            super().fit(X, y)
        return self


class FamilyKernel(Kernel):
    """1 for two models of one family, 0 otherwise: a random effect per family. Has no hyperparameter."""

    def __init__(self) -> None:
        """No parameters: scikit-learn reads those of a kernel from this signature."""

    def __call__(
        self, X: np.ndarray, Y: np.ndarray | None = None, eval_gradient: bool = False
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        other = X if Y is None else Y
        same = (X[:, -1][:, None] == other[:, -1][None, :]).astype(float)
        return (same, np.empty((*same.shape, 0))) if eval_gradient else same

    def diag(self, X: np.ndarray) -> np.ndarray:
        """Ones, (rows,)."""
        return np.ones(X.shape[0])

    def is_stationary(self) -> bool:
        """The family code is a label, not a place."""
        return False


class FeatureDotProduct(DotProduct):
    """Straight-line kernel on every column but the family code."""

    def __call__(
        self, X: np.ndarray, Y: np.ndarray | None = None, eval_gradient: bool = False
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        return super().__call__(X[:, :-1], None if Y is None else Y[:, :-1], eval_gradient)

    def diag(self, X: np.ndarray) -> np.ndarray:
        """(rows,)."""
        return super().diag(X[:, :-1])


def _absolute_correlations(values: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """|Pearson r| of values (models,) with each target (models, targets) where both vary and 3 are known, else 0."""
    known = np.isfinite(values)
    x, y = values[known] - values[known].mean() if known.any() else values[known], targets[known]
    if known.sum() < 3 or np.ptp(x) == 0:
        return np.zeros(targets.shape[1])
    y = y - y.mean(axis=0)
    lengths = np.linalg.norm(x) * np.linalg.norm(y, axis=0)
    return np.divide(np.abs(x @ y), lengths, out=np.zeros(targets.shape[1]), where=lengths > 1e-9)


def _pick(columns: Sequence[int]) -> ColumnTransformer:
    return make_column_transformer(("passthrough", list(columns)))


def _imputed_scaled() -> object:
    return make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler())


def _n_components(columns: Columns) -> int:
    return min(N_COMPONENTS, len(columns.benchmarks))
