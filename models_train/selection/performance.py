"""The performance model of one study: from feature and result frames to the rows that are landed, and a verdict.

The frames have the columns of their contracts (`warehouse.contracts.performance`) without study_id and run_id. A
target that cannot be predicted (too few models, one publisher, a result that does not vary) becomes a row of
`abstentions`; broken input raises UserError.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

import numpy as np
import polars as pl

from models_train.selection.chance import REGRET_STEPS, Chance, chances, random_pick
from models_train.selection.design import Design, Prepared, design, target_values
from models_train.selection.elastic_net import Setting, fit_setting, selection_frequencies
from models_train.selection.features import LOG_SIZE, TooLittleData, feature_table
from models_train.selection.jackknife import mean_over_clusters
from models_train.selection.leave_out import LeaveOut, leave_out
from models_train.selection.other_studies import (
    OtherModel,
    OtherStudy,
    jackknifed_effects,
    recipe_effects,
    row_name,
    with_other_studies,
)
from models_train.selection.placebos import MixTrial, mix_trial
from models_train.selection.predictors import AVERAGE, ELASTIC_NET, MEAN, PLAIN_AVERAGE, WITH_MIX
from models_train.selection.protocols import (
    IN_SAMPLE,
    LEAVE_PUBLISHER_OUT,
    NOTHING,
    Forecast,
    Predicted,
    TenFold,
    forecasts,
    in_sample_predictions,
    leave_publisher_out_predictions,
    ten_fold,
    ten_fold_predictions,
)
from models_train.selection.scores import COVERAGE_STEPS, coverage_at_k, regret_at_k
from warehouse.contracts import PERFORMANCE_TABLES

TARGETS = ("chat", "chat_hard", "safety", "reasoning", "score")
FITTED = (
    "predictions",
    "coefficients",
    "scores",
    "predicted_coverage",
    "choices",
    "abstentions",
    "excluded_features",
    "other_studies",
)
"""Frames that are filled target by target; `performance_<name>` is the table of each."""
ALL_MODELS = "all models"
"""Fold of the choices that are made on all models."""
REFERENCES = (LOG_SIZE, MEAN, ELASTIC_NET)
"""Predictors that the others are compared with: size by itself, no feature at all, and the net without the mix."""
PLACEBO = "placebo"
"""Reference of the net with the mix: random features that are constant within a family, drawn many times."""
BETTER, WORSE, UNDECIDED = "better", "worse", "undecided"
REPORTED_FREQUENCY = 0.1
"""A term of degree 2 or 3 is listed if its coefficient is not zero or it is kept in this share of resamples."""


@dataclass(frozen=True)
class PerformanceSettings:
    """aggregates: benchmarks that are averages of others, left out; lineages: model -> the model that its post-training
    began from, where publishers with a lineage in common are left out together, else None; n_bootstraps: resamples of
    publishers behind the selection frequencies; n_jobs: processes (no figure depends on it)."""

    aggregates: tuple[str, ...] = ()
    lineages: Mapping[str, str] | None = None
    n_bootstraps: int = 1000
    seed: int = 0
    n_jobs: int = 1


@dataclass(frozen=True)
class PerformanceResult:
    """One frame per table, and what the recommendation needs.

    forecasts: per (objective, target), one entry per model without a reward model. largest_gap: of all elastic nets.
    """

    predictions: pl.DataFrame
    coefficients: pl.DataFrame
    scores: pl.DataFrame
    comparisons: pl.DataFrame
    predicted_coverage: pl.DataFrame
    choices: pl.DataFrame
    abstentions: pl.DataFrame
    excluded_features: pl.DataFrame
    other_studies: pl.DataFrame
    forecasts: dict[tuple[str, str], list[Forecast]]
    largest_gap: float


def performance(
    features: pl.DataFrame,
    results: pl.DataFrame,
    objectives: Sequence[str],
    targets: Sequence[str] = TARGETS,
    settings: PerformanceSettings | None = None,
    pipeline_values: pl.DataFrame | None = None,
    others: Sequence[OtherStudy] = (),
) -> PerformanceResult:
    """Fit, predict and judge every objective and target of one study.

    features: long frame (`features.FEATURE_COLUMNS`); results: objective, model_id and one column per target.
    pipeline_values: model_id, feature, pipeline, measured_value of the compared models, for offsets inside folds.
    others: studies whose reward models are learned from, too. Models without a result are candidates and get
    forecasts. Raises UserError for broken input.
    """
    settings = settings or PerformanceSettings()
    rows: dict[str, list[tuple[object, ...]]] = {name: [] for name in FITTED}
    found: dict[tuple[str, str], list[Forecast]] = {}
    placebos: dict[tuple[str, str], np.ndarray] = {}
    gap = 0.0
    for group in _same_models(features, results, objectives, targets, settings, pipeline_values, others, rows):
        fits = leave_out(group.design, settings.n_jobs)
        folds = ten_fold(group.design, settings.seed, settings.n_jobs)
        gap = max(gap, fits.largest_gap, folds.whole.largest_gap, *(fit.largest_gap for fit in folds.fits))
        trial = mix_trial(group.design, settings.seed, settings.n_jobs)
        for number, key in enumerate(group.keys):
            found[key] = _add_target(rows, key, fits, folds, trial, number, settings)
            if trial is not None:
                placebos[key] = trial.placebo_errors[:, number]
            rows["other_studies"] += [(*key, *row) for row in _other_study_rows(fits, number)]
        _add_coefficients(rows, group.keys, fits, folds, settings)
    frames = {name: _frame(name, rows[name]) for name in FITTED}
    comparisons = compare(frames["predictions"], placebos)
    return PerformanceResult(**frames, comparisons=comparisons, forecasts=found, largest_gap=gap)


def _frame(name: str, rows: Sequence[tuple[object, ...]]) -> pl.DataFrame:
    """Rows as the frame of a table of the performance model."""
    return pl.DataFrame(list(rows), pl.Schema(PERFORMANCE_TABLES[f"performance_{name}"].filled_columns), orient="row")


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
    pipeline_values: pl.DataFrame | None,
    others: Sequence[OtherStudy],
    rows: dict[str, list[tuple[object, ...]]],
) -> list[_Group]:
    by_models: dict[tuple[frozenset[str], ...], list[tuple[tuple[str, str], dict[str, float]]]] = {}
    candidates = features["model_id"].unique()
    features, pipeline_values = with_other_studies(features, pipeline_values, others)
    elsewhere = {
        row_name(other.study_id, model): OtherModel(other.study_id, model, (other.lineages or {}).get(model, model))
        for other in others
        for model in other.results["model_id"].unique()
    }
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
            learned = _results_elsewhere(others, objective, target)
            by_models.setdefault((frozenset(values), frozenset(learned)), []).append((key, values | learned))
    groups, pipelines = [], None if pipeline_values is None else (features, pipeline_values)
    for (models, learned_models), members in by_models.items():
        keys = [key for key, _ in members]
        mine = features.filter(pl.col("model_id").is_in([*candidates, *learned_models])) if others else features
        try:
            table = feature_table(mine, models, aggregates=settings.aggregates)
            nothing = float("nan")
            matrix = np.array([[values.get(model, nothing) for _, values in members] for model in table.model_ids])
            here = {name: elsewhere[name] for name in learned_models}
            groups.append(_Group(keys, design(table, matrix, settings.lineages, pipelines, here)))
        except TooLittleData as error:
            rows["abstentions"].extend((*key, str(error)) for key in keys)
        else:
            rows["excluded_features"].extend((*key, *row) for key in keys for row in table.excluded.iter_rows())
    return groups


def _results_elsewhere(others: Sequence[OtherStudy], objective: str, target: str) -> dict[str, float]:
    """Results of other studies of one objective and target, by the names of their rows."""
    found: dict[str, float] = {}
    for other in others:
        try:
            values = target_values(other.results, objective, target)
        except TooLittleData:
            continue
        found |= {row_name(other.study_id, model): value for model, value in values.items()}
    return found


def _other_study_rows(fits: LeaveOut, number: int) -> list[tuple[object, ...]]:
    """Rows of `other_studies` after objective and target: what was learned from, and the effect of the recipe."""
    design, learned = fits.design, fits.design.learned
    if learned is None:
        return []
    everything = design.training_rows((), with_learned=True)
    inside, targets, studies, clusters = design.recipe_inputs(everything, design.matrix_for(everything))
    n_studies = len(learned.names)
    shrunk = recipe_effects(inside, targets, studies, clusters, n_studies).shrunk[:, number]
    effects = jackknifed_effects(inside, targets[:, number], studies, clusters, n_studies)
    share = float(np.mean([fits.share(name, NOTHING, number) for name in fits.members]))
    return [
        (
            name,
            int((learned.studies == study).sum()),
            effect.estimate,
            *(_finite(value) for value in (effect.standard_error, effect.low, effect.high)),
            float(shrunk[study]),
            share,
        )
        for study, (name, effect) in enumerate(zip(learned.names, effects, strict=True))
    ]


def _add_target(
    rows: dict[str, list[tuple[object, ...]]],
    key: tuple[str, str],
    fits: LeaveOut,
    folds: TenFold,
    trial: MixTrial | None,
    number: int,
    settings: PerformanceSettings,
) -> list[Forecast]:
    observed, groups = fits.design.targets[:, number], fits.design.groups
    held_out = leave_publisher_out_predictions(fits, number)
    if trial is not None:
        held_out.append(_with_mix(trial.predictions[number], held_out[0]))
    permuted, at_random = chances(fits.design, number, settings.seed), random_pick(observed)
    for predicted in [*in_sample_predictions(folds, number), *ten_fold_predictions(folds, number), *held_out]:
        chance = at_random
        if predicted.protocol == LEAVE_PUBLISHER_OUT:
            chance = permuted.get(predicted.predictor, permuted[PLAIN_AVERAGE])
        rows["predictions"] += [(*key, *row) for row in _prediction_rows(predicted, fits.design.model_ids, observed)]
        rows["scores"].append((*key, *_score_row(predicted, observed, groups, chance)))
        rows["predicted_coverage"] += [(*key, *row) for row in _coverage_rows(predicted, observed, chance)]
    everywhere = [(name, frozenset({fold})) for fold, name in enumerate(fits.design.fold_names)]
    for fold, left in (*everywhere, (ALL_MODELS, NOTHING)):
        shrinkage = fits.shrinkage(left, number, fits.members)
        choice = (fits.best_predictor(left, number), *_setting(fits, left, number), shrinkage)
        rows["choices"].append((*key, fold, *choice))
    return forecasts(fits, number)


def _with_mix(values: np.ndarray, beside: Predicted) -> Predicted:
    """Predictions of the net with the mix, without intervals, in the folds of another prediction."""
    open_end = np.full(values.shape, np.inf)
    return Predicted(
        beside.protocol, WITH_MIX, values, -open_end, open_end, beside.fold, is_supported=beside.is_supported
    )


def _finite(value: float) -> float | None:
    """The value, or None where it is infinite or not a number (an interval end that the data do not bound)."""
    return float(value) if np.isfinite(value) else None


def _prediction_rows(predicted: Predicted, model_ids: Sequence[str], observed: np.ndarray) -> list[tuple[object, ...]]:
    """Rows of `predictions` after objective and target. model_ids may go on after the observed models."""
    return [
        (
            model_ids[row],
            predicted.protocol,
            predicted.predictor,
            float(predicted.values[row]),
            _finite(predicted.low[row]),
            _finite(predicted.high[row]),
            float(observed[row]),
            None if predicted.is_supported is None else bool(predicted.is_supported[row]),
            predicted.fold[row],
        )
        for row in range(observed.size)
    ]


def _score_row(predicted: Predicted, observed: np.ndarray, groups: np.ndarray, chance: Chance) -> tuple[object, ...]:
    """Row of `scores` after objective and target; a k above the number of models gives null."""
    error = mean_over_clusters(np.abs(predicted.values - observed), groups)
    coverage = [coverage_at_k(predicted.values, observed, k) if k <= observed.size else None for k in (5, 10)]
    regret = [regret_at_k(predicted.values, observed, k) if k <= observed.size else None for k in REGRET_STEPS]
    by_chance = (*(chance.coverage.get(k) for k in (5, 10)), *(chance.regret.get(k) for k in REGRET_STEPS))
    ends = (error.estimate, max(0.0, error.low), error.high)
    return (predicted.protocol, predicted.predictor, *ends, *coverage, *regret, *by_chance)


def _coverage_rows(predicted: Predicted, observed: np.ndarray, chance: Chance) -> list[tuple[object, ...]]:
    """Rows of `predicted_coverage` after objective and target, for k up to the number of models."""
    return [
        (predicted.protocol, predicted.predictor, k, coverage_at_k(predicted.values, observed, k), chance.coverage[k])
        for k in takewhile(lambda k: k <= observed.size, COVERAGE_STEPS)
    ]


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
        wanted.append((number, IN_SAMPLE, folds.settings[folds.setting(number)]))
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


def compare(predictions: pl.DataFrame, placebos: Mapping[tuple[str, str], np.ndarray] | None = None) -> pl.DataFrame:
    """Rows of performance_comparisons: errors of each predictor against those of each of REFERENCES, model by model.

    predictions: rows of performance_predictions; those with the publisher left out are compared, by the jackknife over
    the folds (the publishers). placebos: (objective, target) -> mean absolute errors of the nets with a placebo.
    """
    key = ("objective", "target")
    held_out = predictions.filter(protocol=LEAVE_PUBLISHER_OUT).sort(*key, "predictor", "model_id")
    rows: list[tuple[object, ...]] = []
    for cell, part in held_out.group_by(*key, maintain_order=True):
        by_name = {str(name): mine for (name,), mine in part.group_by("predictor", maintain_order=True)}
        for reference in (name for name in REFERENCES if name in by_name):
            for name in (name for name in by_name if name != reference):
                compared = _compared(by_name[name], by_name[reference])
                rows.append((*cell, LEAVE_PUBLISHER_OUT, name, reference, *compared))
        errors = (placebos or {}).get((str(cell[0]), str(cell[1])))
        if errors is not None:
            rows.append((*cell, LEAVE_PUBLISHER_OUT, WITH_MIX, PLACEBO, *_against_placebos(by_name[WITH_MIX], errors)))
    return _frame("comparisons", rows)


def _compared(predictor: pl.DataFrame, reference: pl.DataFrame) -> tuple[object, ...]:
    """Columns of a comparison from n on: errors, difference over models and over publishers, and what follows."""
    observed, publishers = predictor["observed"].to_numpy(), predictor["fold"].to_numpy()
    errors, base = (np.abs(each["predicted"].to_numpy() - observed) for each in (predictor, reference))
    over_models = mean_over_clusters(errors - base, publishers)
    names = np.unique(publishers)
    means = np.array([(errors - base)[publishers == name].mean() for name in names])
    over_publishers = mean_over_clusters(means, names)
    return (
        observed.size,
        float(errors.mean()),
        float(base.mean()),
        *(over_models.estimate, over_models.low, over_models.high),
        *(over_publishers.estimate, over_publishers.low, over_publishers.high),
        _verdict(over_models.low, over_models.high),
    )


def _against_placebos(predictor: pl.DataFrame, errors: np.ndarray) -> tuple[object, ...]:
    """Columns of the comparison with placebos from n on; the ends are the 5th and 95th percentile over draws."""
    mine = float((predictor["predicted"] - predictor["observed"]).abs().mean())  # type: ignore[arg-type]
    low, high = (mine - float(np.quantile(errors, share)) for share in (0.95, 0.05))
    middle = float(errors.mean())
    return predictor.height, mine, middle, mine - middle, low, high, None, None, None, _verdict(low, high)


def _verdict(low: float, high: float) -> str:
    return BETTER if high < 0 else WORSE if low > 0 else UNDECIDED


def verdict(comparisons: pl.DataFrame, objective: str, target: str) -> str:
    """One sentence: does the average beat size by itself, and if not, does anything, size included, beat the mean."""
    table = comparisons.filter(objective=objective, target=target)
    chosen = table.row(by_predicate=(pl.col("predictor") == AVERAGE) & (pl.col("reference") == LOG_SIZE), named=True)
    if chosen["verdict"] == BETTER:
        first = "Size alone is beaten"
    elif BETTER not in table.filter(reference=MEAN)["verdict"]:
        first = "Nothing, size included, is shown to predict better than the mean of the results"
    else:
        first = "The average of the predictors is not shown to beat size alone"
    return (
        f"{first}: for a publisher never seen, the mean absolute error is {chosen['mae']:.1f} points with the average "
        f"and {chosen['reference_mae']:.1f} with log10 size (difference {_difference(chosen)})."
    )


def mix_verdict(comparisons: pl.DataFrame, objective: str, target: str) -> str:
    """One sentence: does the pre-training mix improve the elastic net by more than placebos; empty without a mix.

    The mix counts as an improvement only if it beats 95 of 100 placebos, too (definitions, Section 5).
    """
    mine = comparisons.filter(objective=objective, target=target, predictor=WITH_MIX)
    rows = {row["reference"]: row for row in mine.iter_rows(named=True)}
    if not rows:
        return ""
    without, placebo = rows[ELASTIC_NET], rows[PLACEBO]
    first = {
        (True, True): "The pre-training mix improves the prediction",
        (True, False): "The pre-training mix improves the prediction no more than a placebo does",
        (False, True): "The pre-training mix beats its placebos but does not reliably improve the prediction",
        (False, False): "The pre-training mix does not reliably improve the prediction",
    }[without["verdict"] == BETTER, placebo["verdict"] == BETTER]
    return (
        f"{first}: for a publisher never seen, the mean absolute error is {without['mae']:.1f} points with it; against "
        f"the elastic net without it {_difference(without)}; against random features constant within a family "
        f"{placebo['difference']:+.1f}, {placebo['difference_low']:+.1f} to {placebo['difference_high']:+.1f} for nine "
        "of ten draws."
    )


def _difference(row: dict[str, float]) -> str:
    """A difference with its interval, in points."""
    return f"{row['difference']:+.1f}, 95 % interval {row['difference_low']:+.1f} to {row['difference_high']:+.1f}"
