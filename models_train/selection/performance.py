"""The performance model of one study from feature and result frames to the rows that are landed.

`study_id` is not in the returned frames; the caller adds it. What cannot be answered honestly (too few models, one
publisher, a result that does not vary) becomes a row of `abstentions`; broken input raises SelectionError.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from models_train.selection.design import Design, design, target_values
from models_train.selection.elastic_net import Setting, fit_setting
from models_train.selection.errors import TooLittleData
from models_train.selection.features import MIN_SHARE_OF_MODELS, feature_table
from models_train.selection.forecasts import Forecast, forecasts
from models_train.selection.leave_out import LeaveOut, leave_out
from models_train.selection.preparation import Prepared
from models_train.selection.protocols import (
    IN_SAMPLE,
    LEAVE_PUBLISHER_OUT,
    NOTHING,
    TenFold,
    in_sample_predictions,
    leave_publisher_out_predictions,
    ten_fold,
    ten_fold_predictions,
)
from models_train.selection.rows import SCHEMAS, coverage_rows, frame, prediction_rows, score_row
from models_train.selection.stability import selection_frequencies

TARGETS = ("chat", "chat_hard", "safety", "reasoning", "score")
REPORTED_FREQUENCY = 0.1
"""A term of degree 2 or 3 is listed if its coefficient is not zero or it is kept in this share of resamples."""


@dataclass(frozen=True)
class PerformanceSettings:
    """min_share_of_models: presence a feature needs; aggregates: benchmarks that are averages of others, left out;
    n_bootstraps: publisher resamples for every bootstrap; n_jobs: processes (no figure depends on it)."""

    min_share_of_models: float = MIN_SHARE_OF_MODELS
    aggregates: tuple[str, ...] = ()
    n_bootstraps: int = 1000
    seed: int = 0
    n_jobs: int = 1


@dataclass(frozen=True)
class PerformanceResult:
    """Frames as in `rows.SCHEMAS` (without study_id), and what the recommendation needs.

    forecasts: per (objective, target), one entry per model without a reward model.
    excluded_features: objective, target, feature, share_of_models, reason. largest_gap: of all elastic nets.
    """

    predictions: pl.DataFrame
    coefficients: pl.DataFrame
    scores: pl.DataFrame
    predicted_coverage: pl.DataFrame
    choices: pl.DataFrame
    abstentions: pl.DataFrame
    excluded_features: pl.DataFrame
    forecasts: dict[tuple[str, str], list[Forecast]]
    largest_gap: float


def performance(
    features: pl.DataFrame,
    results: pl.DataFrame,
    objectives: Sequence[str],
    targets: Sequence[str] = TARGETS,
    settings: PerformanceSettings | None = None,
) -> PerformanceResult:
    """Fit, predict and judge every objective and target of one study.

    features: long frame (`features.FEATURE_COLUMNS`); results: objective, model_id and one column per target.
    Models without a result are candidates and get forecasts. Raises SelectionError for broken input.
    """
    settings = settings or PerformanceSettings()
    rows: dict[str, list[tuple[object, ...]]] = {name: [] for name in SCHEMAS}
    found: dict[tuple[str, str], list[Forecast]] = {}
    gap = 0.0
    for group in _same_models(features, results, objectives, targets, settings, rows):
        fits = leave_out(group.design, settings.n_jobs)
        folds = ten_fold(group.design, settings.seed, settings.n_jobs)
        gap = max(gap, fits.largest_gap, *(fit.largest_gap for fit in folds.fits))
        for number, key in enumerate(group.keys):
            found[key] = _add_target(rows, key, fits, folds, number, settings)
        _add_coefficients(rows, group.keys, fits, folds, settings)
    return PerformanceResult(**{name: frame(name, rows[name]) for name in SCHEMAS}, forecasts=found, largest_gap=gap)


@dataclass(frozen=True)
class _Group:
    """Targets whose observed models are the same, so that all their fits share the feature side."""

    keys: list[tuple[str, str]]
    design: Design


def _same_models(
    features: pl.DataFrame,
    results: pl.DataFrame,
    objectives: Sequence[str],
    targets: Sequence[str],
    settings: PerformanceSettings,
    rows: dict[str, list[tuple[object, ...]]],
) -> list[_Group]:
    by_models: dict[frozenset[str], list[tuple[tuple[str, str], dict[str, float]]]] = {}
    for objective in objectives:
        for target in targets:
            key = (objective, target)
            try:
                values = target_values(results, objective, target)
                if len(set(values.values())) == 1:
                    raise TooLittleData(f"every model has the same {target}; there is nothing to predict")
            except TooLittleData as error:
                rows["abstentions"].append((*key, str(error)))
                continue
            by_models.setdefault(frozenset(values), []).append((key, values))
    groups = []
    for models, members in by_models.items():
        keys = [key for key, _ in members]
        try:
            table = feature_table(features, models, settings.min_share_of_models, settings.aggregates)
            nothing = float("nan")
            matrix = np.array([[values.get(model, nothing) for _, values in members] for model in table.model_ids])
            groups.append(_Group(keys, design(table, matrix)))
        except TooLittleData as error:
            rows["abstentions"].extend((*key, str(error)) for key in keys)
        else:
            rows["excluded_features"].extend((*key, *row) for key in keys for row in table.excluded.iter_rows())
    return groups


def _add_target(
    rows: dict[str, list[tuple[object, ...]]],
    key: tuple[str, str],
    fits: LeaveOut,
    folds: TenFold,
    number: int,
    settings: PerformanceSettings,
) -> list[Forecast]:
    observed, publishers = fits.design.targets[:, number], fits.design.publishers
    everything = [
        *in_sample_predictions(fits, folds, number),
        *ten_fold_predictions(fits, folds, number),
        *leave_publisher_out_predictions(fits, number),
    ]
    for predicted in everything:
        rows["predictions"] += [(*key, *row) for row in prediction_rows(predicted, fits.design.model_ids, observed)]
        score = score_row(predicted, observed, publishers, settings.n_bootstraps, settings.seed)
        rows["scores"].append((*key, *score))
        rows["predicted_coverage"] += [(*key, *row) for row in coverage_rows(predicted, observed)]
    for fold, name in enumerate(fits.design.fold_names):
        left = frozenset({fold})
        rows["choices"].append((*key, name, fits.best_predictor(left, number), *_setting(fits, left, number)))
    rows["choices"].append((*key, None, fits.best_predictor(NOTHING, number), *_setting(fits, NOTHING, number)))
    return forecasts(fits, number)


def _setting(fits: LeaveOut, left: frozenset[int], number: int) -> tuple[int, float, float]:
    chosen = fits.settings[fits.setting(left, number)]
    return chosen.degree, chosen.alpha, chosen.l1_ratio


def _add_coefficients(
    rows: dict[str, list[tuple[object, ...]]],
    keys: list[tuple[str, str]],
    fits: LeaveOut,
    folds: TenFold,
    settings: PerformanceSettings,
) -> None:
    """Refit the paper's setting and the leave-publisher-out setting on all models, with selection frequencies."""
    wanted: list[tuple[int, str, Setting]] = []
    for number in range(len(keys)):
        wanted.append((number, IN_SAMPLE, fits.settings[folds.setting(fits.design.targets, number)]))
        wanted.append((number, LEAVE_PUBLISHER_OUT, fits.settings[fits.setting(NOTHING, number)]))
    pairs = [(number, setting) for number, _, setting in wanted]
    frequencies = selection_frequencies(fits.design, pairs, settings.n_bootstraps, settings.seed, settings.n_jobs)
    columns = list(fits.design.columns.elastic_net)
    names = tuple(fits.design.table.names[column] for column in columns)
    everyone = np.arange(fits.design.n_observed)
    prepared = Prepared(fits.design.matrix[:, columns], everyone, names)
    for (number, protocol, setting), frequency in zip(wanted, frequencies, strict=True):
        fitted = fit_setting(prepared, fits.design.targets[:, number], setting)
        for term, value, share in zip(fitted.terms, fitted.values, frequency, strict=True):
            if term in names or value != 0 or share >= REPORTED_FREQUENCY:
                rows["coefficients"].append((*keys[number], protocol, term, float(value), float(share)))
