"""The paper's elastic-net grid (Section 4.2), solved exactly and fast for few models and many polynomial terms.

scikit-learn's coordinate descent needs thousands of sweeps at alpha = 1e-4 on a thousand collinear terms. Here the
*dual* has one unknown per model (about 40), so a semismooth Newton method reaches machine precision in about ten
steps of 40 x 40 (Li, Sun, Toh 2018, "A highly efficient semismooth Newton augmented Lagrangian method for solving
Lasso problems", SIAM J. Optim. 28(1)). Every fit carries its duality gap.

Objective, as in scikit-learn, with n models:
``1/(2n) |y - X b|^2 + alpha * l1_ratio * |b|_1 + alpha * (1 - l1_ratio) / 2 * |b|^2``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from joblib import Parallel, delayed
from scipy.linalg import eigh, lstsq
from scipy.linalg.lapack import dpotrf, dpotrs

from models_train.selection.design import Design, Prepared, small_systems
from models_train.selection.scores import cluster_resamples

DEGREES = (1, 2, 3)
ALPHAS = (0.1, 0.01, 0.001, 0.0001)
L1_RATIOS = (0.0, 0.25, 0.5, 0.75, 1.0)

GAP_TOLERANCE = 1e-12
"""Relative to |y|^2 / (2n), the objective of the empty model."""
_MAX_NEWTON_STEPS = 60
_MAX_PROXIMAL_STEPS = 40
_PROXIMAL_WEIGHT, _PROXIMAL_SHRINKAGE, _SMALLEST_PROXIMAL_WEIGHT = 0.2, 0.3, 1e-4
"""Relative to alpha. A smaller weight takes fewer proximal steps but more Newton steps each."""
_CHUNKS_PER_JOB = 4
_PATH = (3.0, 1.0, 0.3, *ALPHAS)
"""Penalties on the way to a weak one."""


@dataclass(frozen=True, order=True)
class Setting:
    """One point of the paper's grid (Section 4.2)."""

    degree: int
    alpha: float
    l1_ratio: float


PAPER_GRID: tuple[Setting, ...] = tuple(Setting(*point) for point in product(DEGREES, ALPHAS, L1_RATIOS))
"""The 60 settings of the paper."""
STRONGER_ALPHAS = (3.0, 1.0, 0.3, 0.1, 0.01)
HONEST_GRID: tuple[Setting, ...] = tuple(Setting(*point) for point in product(DEGREES, STRONGER_ALPHAS, L1_RATIOS))
"""The settings of the honest protocol: penalties that shrink all the way to the mean. The paper's two weakest, which
take half the time, are left out: no fold of the published study chose one."""
LINES: tuple[Setting, ...] = tuple(setting for setting in HONEST_GRID if setting.degree == 1)
"""Its settings without products of features."""


@dataclass(frozen=True)
class GridFit:
    """All settings on one training set, for one or several targets.

    predictions: (targets, settings, rows of the prepared matrix), in the target's unit.
    gaps: (targets, settings), duality gap relative to the objective of the empty model; no unit.
    """

    settings: tuple[Setting, ...]
    predictions: np.ndarray
    gaps: np.ndarray


@dataclass(frozen=True)
class Coefficients:
    """One refitted setting: `values` (terms,) in target units per standard deviation of the term."""

    setting: Setting
    terms: tuple[str, ...]
    values: np.ndarray
    gap: float


@dataclass
class _Solution:
    coefficients: np.ndarray
    dual: np.ndarray
    gap: float


def fit_grid(prepared: Prepared, targets: np.ndarray, settings: Sequence[Setting] = PAPER_GRID) -> GridFit:
    """Fit every setting on the prepared training rows and predict every prepared row.

    targets: (training rows, targets). The target is standardised inside, so that alpha has no unit.
    """
    predictions = np.empty((targets.shape[1], len(settings), prepared.n_rows))
    gaps = np.empty((targets.shape[1], len(settings)))
    position = {setting: index for index, setting in enumerate(settings)}
    for degree in sorted({setting.degree for setting in settings}):
        terms, everywhere = prepared.terms(degree), prepared.all_rows(degree)
        wanted = [setting for setting in settings if setting.degree == degree]
        for column in range(targets.shape[1]):
            mean, scale = _centre_and_scale(targets[:, column])
            for setting, solution in _solve_path(terms, (targets[:, column] - mean) / scale, wanted):
                active = np.flatnonzero(solution.coefficients)
                fitted = everywhere[:, active] @ solution.coefficients[active]
                predictions[column, position[setting]] = mean + scale * fitted
                gaps[column, position[setting]] = solution.gap
    return GridFit(tuple(settings), predictions, gaps)


def fit_setting(prepared: Prepared, target: np.ndarray, setting: Setting) -> Coefficients:
    """Refit one setting on the prepared training rows. target: (training rows,)."""
    mean, scale = _centre_and_scale(target)
    path = [Setting(setting.degree, alpha, setting.l1_ratio) for alpha in _PATH if alpha > setting.alpha]
    *_, (_, solution) = _solve_path(prepared.terms(setting.degree), (target - mean) / scale, [*path, setting])
    names = prepared.term_names(setting.degree)
    return Coefficients(setting, names, scale * solution.coefficients, solution.gap)


def _centre_and_scale(target: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation (ddof 0) of the training target; a constant target keeps scale 1."""
    deviation = float(np.std(target))
    return float(np.mean(target)), deviation if deviation > 0 else 1.0


def _solve_path(
    terms: np.ndarray, target: np.ndarray, settings: Sequence[Setting]
) -> Iterator[tuple[Setting, _Solution]]:
    """Solve settings of one degree, each l1_ratio from the strongest alpha down, warm-started.

    terms: (terms, models), standardised rows; target: (models,), centred.
    """
    for l1_ratio in sorted({setting.l1_ratio for setting in settings}):
        chosen = sorted((s for s in settings if s.l1_ratio == l1_ratio), key=lambda s: -s.alpha)
        if l1_ratio == 0.0:
            yield from _ridge(terms, target, chosen)
            continue
        dual, start = target / target.size, np.zeros(terms.shape[0])
        for setting in chosen:
            solution = solve(terms, target, setting.alpha, l1_ratio, dual, start)
            dual, start = solution.dual, solution.coefficients
            yield setting, solution


def _ridge(terms: np.ndarray, target: np.ndarray, settings: Sequence[Setting]) -> Iterator[tuple[Setting, _Solution]]:
    """l1_ratio 0 in closed form for all alphas from one eigendecomposition of the models x models kernel."""
    n_models = target.size
    eigenvalues, vectors = eigh(terms.T @ terms, check_finite=False)
    rotated = vectors.T @ target
    for setting in settings:
        dual = vectors @ (rotated / (np.maximum(eigenvalues, 0.0) / setting.alpha + n_models))
        coefficients = terms @ dual / setting.alpha
        gap = _relative_gap(terms, target, coefficients, dual, 0.0, setting.alpha)
        yield setting, _Solution(coefficients, dual, gap)


def solve(
    terms: np.ndarray,
    target: np.ndarray,
    alpha: float,
    l1_ratio: float,
    dual: np.ndarray,
    start: np.ndarray,
) -> _Solution:
    """One elastic net with l1_ratio > 0. terms: (terms, models); target: (models,), centred.

    l1_ratio < 1 is strongly convex: one Newton solve. The lasso (l1_ratio 1) is made so by proximal-point steps
    around the last coefficients, which stop after finitely many because the problem is piecewise quadratic.
    """
    sparse, smooth = alpha * l1_ratio, alpha * (1.0 - l1_ratio)
    if not np.any(target):
        return _Solution(np.zeros(terms.shape[0]), np.zeros_like(target), 0.0)
    if smooth > 0:
        coefficients, dual = _newton(terms, target, sparse, smooth, dual, None)
        gap = _relative_gap(terms, target, coefficients, dual, sparse, smooth)
    else:
        coefficients, gap = start, np.inf
        for step in range(_MAX_PROXIMAL_STEPS):
            weight = alpha * max(_PROXIMAL_WEIGHT * _PROXIMAL_SHRINKAGE**step, _SMALLEST_PROXIMAL_WEIGHT)
            coefficients, dual = _newton(terms, target, sparse, weight, dual, coefficients)
            gap = _relative_gap(terms, target, coefficients, dual, sparse, smooth)
            if gap <= GAP_TOLERANCE:
                break
            polished = _least_squares_on_active(terms, target, sparse, coefficients)
            polished_gap = _relative_gap(terms, target, polished, dual, sparse, smooth)
            if polished_gap <= GAP_TOLERANCE:
                coefficients, gap = polished, polished_gap
                break
    return _Solution(coefficients, dual, gap)


def _newton(
    terms: np.ndarray,
    target: np.ndarray,
    sparse: float,
    smooth: float,
    dual: np.ndarray,
    anchor: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Minimise ``n/2 |u|^2 - y'u + |soft(X'u + smooth * anchor, sparse)|^2 / (2 smooth)`` over u (models,)."""
    n_models = target.size
    pull = 0.0 if anchor is None else smooth * anchor
    correlation = terms @ dual + pull
    shrunk = _soft(correlation, sparse)
    for _ in range(_MAX_NEWTON_STEPS):
        active = np.flatnonzero(shrunk)
        rows = terms[active]
        gradient = n_models * dual - target + shrunk[active] @ rows / smooth
        if np.max(np.abs(gradient)) <= 1e-13 * np.max(np.abs(target)) * n_models:
            break
        hessian = rows.T @ rows / smooth
        hessian.flat[:: n_models + 1] += n_models
        step = -_solve_positive(hessian, gradient)
        moved = terms @ step
        value = n_models / 2 * dual @ dual - target @ dual + shrunk[active] @ shrunk[active] / (2 * smooth)
        slope, length, improved = gradient @ step, 1.0, False
        while length > 1e-10:
            trial, trial_correlation = dual + length * step, correlation + length * moved
            trial_shrunk = _soft(trial_correlation, sparse)
            trial_value = n_models / 2 * trial @ trial - target @ trial + trial_shrunk @ trial_shrunk / (2 * smooth)
            if trial_value <= value + 1e-4 * length * slope:
                improved = True
                break
            length /= 2
        if not improved:  # rounding has reached its floor; the duality gap decides whether that is good enough
            break
        dual, correlation, shrunk = trial, trial_correlation, trial_shrunk
    return shrunk / smooth, dual


def _solve_positive(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solve a small system with a positive definite matrix, which is overwritten. Raises LinAlgError.

    The LAPACK calls of scipy.linalg.cho_factor and cho_solve, without their checks, which take longer than the work.
    """
    factor, failed = dpotrf(matrix, lower=False, overwrite_a=True, clean=False)
    if failed:
        raise np.linalg.LinAlgError(f"{abs(failed)}-th leading minor of the matrix is not positive definite")
    solution, failed = dpotrs(factor, right, lower=False)
    if failed:
        raise np.linalg.LinAlgError(f"argument {abs(failed)} of the solver is not valid")
    return solution


def _least_squares_on_active(
    terms: np.ndarray, target: np.ndarray, sparse: float, coefficients: np.ndarray
) -> np.ndarray:
    """The lasso's own linear system on the terms and signs that are active now: exact once these are right."""
    active = np.flatnonzero(coefficients)
    rows = terms[active]
    right = rows @ target - target.size * sparse * np.sign(coefficients[active])
    polished = np.zeros_like(coefficients)
    polished[active] = lstsq(rows @ rows.T, right, check_finite=False)[0]
    return polished


def _soft(values: np.ndarray, threshold: float) -> np.ndarray:
    return values - np.clip(values, -threshold, threshold)


def _relative_gap(
    terms: np.ndarray,
    target: np.ndarray,
    coefficients: np.ndarray,
    dual: np.ndarray,
    sparse: float,
    smooth: float,
) -> float:
    """Duality gap over |y|^2/(2n); for the lasso the dual point is first shrunk into the feasible set."""
    n_models = target.size
    empty = target @ target / (2 * n_models)
    if empty == 0:
        return 0.0
    active = np.flatnonzero(coefficients)
    weights = coefficients[active]
    residual = target - weights @ terms[active]
    primal = residual @ residual / (2 * n_models) + sparse * np.abs(weights).sum() + smooth / 2 * weights @ weights
    dual = residual / n_models
    correlation = terms @ dual
    if smooth > 0:
        penalty = np.sum(_soft(correlation, sparse) ** 2) / (2 * smooth)
    else:
        largest = np.max(np.abs(correlation))
        dual = dual * min(1.0, sparse / largest) if largest > 0 else dual
        penalty = 0.0
    value = target @ dual - n_models / 2 * dual @ dual - penalty
    return float(max(primal - value, 0.0) / empty)


def selection_frequencies(
    design: Design,
    wanted: Sequence[tuple[int, Setting]],
    n_resamples: int = 1000,
    seed: int = 0,
    n_jobs: int = 1,
) -> list[np.ndarray]:
    """Share of resamples of publishers in which each term has a coefficient that is not zero.

    wanted: (target number, setting) pairs. Each resample draws as many publishers as there are, with
    replacement, and repeats imputation, scaling, terms and fit at the given setting. Returns (terms,) per pair.
    """
    resamples = cluster_resamples(design.groups, n_resamples, seed)
    n_chunks = max(1, min(len(resamples), n_jobs * _CHUNKS_PER_JOB))
    chunks = [resamples[start::n_chunks] for start in range(n_chunks)]
    counted = Parallel(n_jobs=n_jobs)(delayed(_count)(design, wanted, chunk) for chunk in chunks)
    return [np.sum(counts, axis=0) / n_resamples for counts in zip(*counted, strict=True)]


def _count(design: Design, wanted: Sequence[tuple[int, Setting]], resamples: list[np.ndarray]) -> list[np.ndarray]:
    columns = list(design.columns.elastic_net)
    names = tuple(design.table.names[column] for column in columns)
    counts: list[np.ndarray | int] = [0] * len(wanted)
    with small_systems():
        for rows in resamples:
            prepared = Prepared(design.matrix_for(rows)[:, columns], rows, names)
            for index, (target, setting) in enumerate(wanted):
                fitted = fit_setting(prepared, design.targets[rows, target], setting)
                counts[index] = counts[index] + (fitted.values != 0)
    return [np.asarray(count) for count in counts]
