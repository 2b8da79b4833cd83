"""Gaussian-process kernels over rows whose last column is the code of the model family."""

from __future__ import annotations

import numpy as np
from sklearn.gaussian_process.kernels import RBF, DotProduct, Kernel


class FamilyKernel(Kernel):
    """1 for two models of one family, 0 otherwise: a random effect per family. Has no hyperparameter."""

    def __init__(self) -> None:
        """Takes nothing; scikit-learn reads the parameters of a kernel from this signature."""

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
