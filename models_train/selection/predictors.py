"""The named predictors besides the elastic net, as scikit-learn estimators over the design matrix.

Every estimator takes X (models, columns of the design) and y (models, targets), treats each target by itself, and does
its own imputation, scaling and choices inside `fit`, so a fold can leak nothing. Baselines of
definitions 5: `mean`, `log10_params`, `params_and_tokens`, `best_single_benchmark`. Attempts to beat size:
`pc_ridge` (observational scaling laws, Ruan et al. 2024), `family_size` (log10 size plus family random effect),
`sigmoid_link` (an item-response curve: logit accuracy linear in capability and log size) and `gaussian_process`. The
kernels of the last take rows whose last column is the code of the model family.
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
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, Kernel, WhiteKernel
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, RidgeCV
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from models_train.selection.design import ELASTIC_NET, WITH_MIX, WITH_PLACEBO, Columns, standardise_and_impute

SELECTED = "selected"
SIMPLEST_FIRST = (
    "mean",
    "log10_params",
    "params_and_tokens",
    "best_single_benchmark",
    "family_size",
    "pc_ridge",
    "sigmoid_link",
    "gaussian_process",
    ELASTIC_NET,
    WITH_MIX,
    WITH_PLACEBO,
)
"""All predictors; on an exact tie nested selection takes the earlier one, and it never takes the placebo."""

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
    with_family = ColumnTransformer(
        [
            ("capability", make_pipeline(capability, StandardScaler()), list(columns.benchmarks)),
            ("size", _imputed_scaled(), [columns.log_size]),
            ("family", "passthrough", [columns.family]),
        ]
    )
    size_and_family = ColumnTransformer(
        [("size", _imputed_scaled(), [columns.log_size]), ("family", "passthrough", [columns.family])]
    )
    family_effect = ConstantKernel(0.3, (1e-3, 1e2)) * FamilyKernel()
    noise = WhiteKernel(0.3, (1e-3, 1e1))
    line = ConstantKernel(0.5, (1e-3, 1e2)) * FeatureDotProduct(sigma_0=0.1, sigma_0_bounds="fixed")
    curve = ConstantKernel(0.5, (1e-3, 1e2)) * FeatureRBF(length_scale=2.0, length_scale_bounds=(0.5, 2e1))
    found: dict[str, BaseEstimator] = {
        "mean": DummyRegressor(strategy="mean"),
        "log10_params": make_pipeline(_pick([columns.log_size]), SimpleImputer(), LinearRegression()),
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
        "gaussian_process": make_pipeline(with_family, _process(line + curve + family_effect + noise)),
    }
    if columns.tokens is not None:
        found["params_and_tokens"] = make_pipeline(
            _pick([columns.size, columns.tokens]), SimpleImputer(), LinearRegression()
        )
    return {name: found[name] for name in SIMPLEST_FIRST if name in found}


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
        strengths = [[_absolute_correlation(X[:, column], target) for column in self.benchmarks] for target in y.T]
        positions = np.argmax(strengths, axis=1)
        self.chosen_ = [int(self.benchmarks[position]) for position in positions]
        self.preparation_ = standardise_and_impute().fit(X[:, list(self.benchmarks)])
        prepared = self.preparation_.transform(X[:, list(self.benchmarks)])
        self.lines_ = [
            (position, LinearRegression().fit(prepared[:, [position]], target))
            for position, target in zip(positions, y.T, strict=True)
        ]
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """(models, targets), in the unit of the target."""
        prepared = self.preparation_.transform(X[:, list(self.benchmarks)])
        return np.column_stack([line.predict(prepared[:, [position]]) for position, line in self.lines_])


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


class FeatureRBF(RBF):
    """Smooth-curve kernel on every column but the family code."""

    def __call__(
        self, X: np.ndarray, Y: np.ndarray | None = None, eval_gradient: bool = False
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        return super().__call__(X[:, :-1], None if Y is None else Y[:, :-1], eval_gradient)


def _absolute_correlation(values: np.ndarray, target: np.ndarray) -> float:
    known = np.isfinite(values)
    if known.sum() < 3 or np.ptp(values[known]) == 0 or np.ptp(target[known]) == 0:
        return 0.0
    return abs(float(np.corrcoef(values[known], target[known])[0, 1]))


def _pick(columns: Sequence[int]) -> ColumnTransformer:
    return make_column_transformer(("passthrough", list(columns)))


def _imputed_scaled() -> object:
    return make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler())


def _n_components(columns: Columns) -> int:
    return min(N_COMPONENTS, len(columns.benchmarks))
