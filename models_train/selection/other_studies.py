"""Trained reward models of other studies as further rows to learn from, and the effect of their training recipe.

A row of another study is never judged: errors, coverage, intervals and forecasts are those of the own study. It leaves
the training rows together with its publisher, or with a publisher of the own study that has the same base model.

Another recipe (data, rates, code) moves all results of a study. Its effect is a random intercept of the study, with the
own study at zero: the difference of the mean residuals of the two studies from a ridge regression on the features whose
slopes are estimated within studies, shrunk by t^2 / (t^2 + s^2). s is its standard error given the slopes, robust
against common errors of a publisher (Liang and Zeger 1986, "Longitudinal data analysis using generalized linear
models"); t^2, the variance between recipes, is estimated by moments: the mean of effect^2 - s^2, at least 0. All of it
comes from the training rows of one fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from sklearn.linear_model import RidgeCV

from models_train.selection.jackknife import Jackknife, over_clusters

PENALTIES = np.logspace(-2, 3, 11)
"""Of the ridge regression; chosen by leave-one-out."""


@dataclass(frozen=True)
class OtherStudy:
    """Frames of another study, with the columns of the own one's. lineages: as of `PerformanceSettings`."""

    study_id: str
    features: pl.DataFrame
    results: pl.DataFrame
    pipeline_values: pl.DataFrame | None = None
    lineages: Mapping[str, str] | None = None


@dataclass(frozen=True)
class OtherModel:
    """A model of another study: its study, its name there, and the lineage that it has there."""

    study_id: str
    model_id: str
    lineage: str


@dataclass(frozen=True)
class Learned:
    """Rows of other studies in a design, which follow the observed ones.

    names: of the studies; studies: (learned rows,), number of each row's; targets: (learned rows, targets); folds:
    (learned rows, folds), True where a row is left out with the fold; clusters: (observed and learned rows,),
    publishers.
    """

    names: tuple[str, ...]
    studies: np.ndarray
    targets: np.ndarray
    folds: np.ndarray
    clusters: np.ndarray


@dataclass(frozen=True)
class Effects:
    """Effects of recipes, (studies, targets) each, in points: as estimated, standard error, and shrunk to zero."""

    estimate: np.ndarray
    error: np.ndarray
    shrunk: np.ndarray


def row_name(study_id: str, model_id: str) -> str:
    """Name of a model of another study among the own ones; no name of a study has a colon."""
    return f"{study_id}: {model_id}"


def with_other_studies(
    features: pl.DataFrame, pipeline_values: pl.DataFrame | None, others: Sequence[OtherStudy]
) -> tuple[pl.DataFrame, pl.DataFrame | None]:
    """The long frames of the own study with those of the others below, as far as the own study has the feature.

    Where another study has a value in the own study's main pipeline, that one counts; others need an offset.
    """
    if not others:
        return features, pipeline_values
    values = [] if pipeline_values is None else [pipeline_values]
    frames = [features]
    for other in others:
        name = pl.concat_str(pl.lit(f"{other.study_id}: "), "model_id").alias("model_id")
        rows = other.features.join(
            features.select("feature", "feature_kind").unique(), on=["feature", "feature_kind"], how="semi"
        )
        if values and other.pipeline_values is not None:
            rows = _in_main_pipelines(rows, features, other.pipeline_values)
            values.append(other.pipeline_values.with_columns(name))
        frames.append(rows.with_columns(name, study_id=pl.lit(features["study_id"][0])))
    below = pl.concat(frames, how="diagonal_relaxed").select(features.columns)
    return below, pl.concat(values, how="diagonal_relaxed") if values else None


def _in_main_pipelines(rows: pl.DataFrame, own: pl.DataFrame, pipeline_values: pl.DataFrame) -> pl.DataFrame:
    """Rows of another study whose values are those of the own study's main pipelines, wherever these exist."""
    main = own.filter("is_main_pipeline", pl.col("pipeline").is_not_null())
    mains = main.select("feature", main="pipeline").unique("feature")
    there = pipeline_values.select("model_id", "feature", main="pipeline", in_main="measured_value")
    found = rows.join(mains, on="feature", how="left", maintain_order="left").join(
        there, on=["model_id", "feature", "main"], how="left", maintain_order="left"
    )
    has_main = pl.col("in_main").is_not_null()
    compared = pl.col("main").is_not_null() & pl.col("pipeline").is_not_null()
    return found.with_columns(
        pipeline=pl.when(has_main).then("main").otherwise("pipeline"),
        measured_value=pl.coalesce("in_main", "measured_value"),
        value=pl.when(compared).then(pl.coalesce("in_main", "measured_value")).otherwise("value"),
        is_main_pipeline=has_main | ~compared,
    ).drop("main", "in_main")


def learned_rows(
    names: tuple[str, ...], studies: Sequence[str], targets: np.ndarray, labels: np.ndarray, folds: np.ndarray
) -> Learned:
    """Rows of other studies of a design. labels: (observed and learned rows,), publishers; folds: (observed rows,)."""
    own, theirs = labels[: folds.size], labels[folds.size :]
    with_fold = np.column_stack([np.isin(theirs, own[folds == fold]) for fold in range(folds.max() + 1)])
    number = {name: index for index, name in enumerate(names)}
    return Learned(names, np.array([number[study] for study in studies], dtype=int), targets, with_fold, labels)


def standardised(values: np.ndarray) -> np.ndarray:
    """Columns with mean 0 and standard deviation 1 over what is known; 0, their mean, where nothing is."""
    known = np.isfinite(values)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, values, 0.0).sum(axis=0) / count
    centred = np.where(known, values - mean, 0.0)
    scale = np.sqrt(np.square(centred).sum(axis=0) / count)
    return centred / np.where(scale > 0, scale, 1.0)


def recipe_effects(
    covariates: np.ndarray, targets: np.ndarray, studies: np.ndarray, clusters: np.ndarray, n_studies: int
) -> Effects:
    """Random intercepts of other studies. covariates: (rows, features), without gaps; targets: (rows, targets).

    studies: (rows,), number of the other study, -1 for the own one, which must have rows; clusters: (rows,),
    publishers. A study without rows has the effect 0 with an infinite error.
    """
    everyone = np.arange(-1, n_studies)
    member = (studies == everyone[:, None]).astype(float)
    present = member.sum(axis=1) > 0
    means = member / np.maximum(member.sum(axis=1, keepdims=True), 1.0)
    inside = covariates - (means @ covariates)[studies + 1]
    line = RidgeCV(alphas=PENALTIES, alpha_per_target=True, fit_intercept=False)
    slopes = line.fit(inside, targets - (means @ targets)[studies + 1]).coef_.reshape(targets.shape[1], -1)
    rest = targets - covariates @ slopes.T
    levels = means @ rest
    residuals = rest - levels[studies + 1]
    publishers = np.unique(clusters)
    publisher = (clusters == publishers[:, None]).astype(float)
    estimate, error = levels[1:] - levels[0], np.full((n_studies, targets.shape[1]), np.inf)
    for study in np.flatnonzero(present[1:]):
        sums = publisher @ ((means[study + 1] - means[0])[:, None] * residuals)
        error[study] = np.sqrt(publishers.size / max(publishers.size - 1, 1) * np.square(sums).sum(axis=0))
    there = present[1:, None]
    estimate = np.where(there, estimate, 0.0)
    surplus = np.where(there, np.square(estimate) - np.where(there, np.square(error), 0.0), 0.0)
    variance = np.maximum(0.0, surplus.sum(axis=0) / max(there.sum(), 1))
    total = variance + np.square(error)
    share = np.divide(variance, total, out=np.zeros_like(total), where=np.isfinite(total) & (total > 0))
    return Effects(estimate, error, share * estimate)


def jackknifed_effects(
    covariates: np.ndarray, targets: np.ndarray, studies: np.ndarray, clusters: np.ndarray, n_studies: int
) -> list[Jackknife]:
    """The effect of each study on one target (rows,), with its interval over publishers."""

    def effect(study: int, rows: np.ndarray) -> float:
        if not ((studies[rows] == study).any() and (studies[rows] < 0).any()):
            return float("nan")
        inside = (covariates[rows], targets[rows, None], studies[rows], clusters[rows])
        return float(recipe_effects(*inside, n_studies).estimate[study, 0])

    return [over_clusters(lambda rows, study=study: effect(study, rows), clusters) for study in range(n_studies)]  # type: ignore[misc]
