"""From the long feature frame to the matrix of the performance model: pivot, presence, constants.

Input columns (a subset of the mart `fct_regression_features`): study_id, model_id, publisher, family, feature,
feature_kind (`benchmark`, `training` or `mix`), value. One row per model and feature that has a value.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import polars as pl

from models_train.errors import UserError

MIN_SHARE_OF_MODELS = 0.75
"""A feature enters the model only if at least this share of the models with a reward model has a value."""
MIN_MODELS = 8
MIN_PUBLISHERS = 4
"""Nested leave-one-publisher-out with grouped intervals leaves out three publishers at once, trains on the rest."""

LOG_SIZE, SIZE, TOKENS = "log10_params", "params_b", "tokens_t"
MIX = "mix"
"""Kind of the features of the pre-training mix."""
KINDS = ("benchmark", "training", MIX)
FEATURE_COLUMNS = ("study_id", "model_id", "publisher", "family", "feature", "feature_kind", "value")


class TooLittleData(UserError):
    """The input is sound but too small or too uniform to learn from; `performance` turns it into an abstention."""


@dataclass(frozen=True)
class FeatureTable:
    """Models x features, rows ordered by publisher and model, features by kind and name.

    values: (models, features), NaN where a model has no value. observed: (models,), True where a reward model was
    trained; presence and constancy are judged on these rows only. excluded: feature, share_of_models, reason.
    """

    model_ids: tuple[str, ...]
    publishers: tuple[str, ...]
    families: tuple[str, ...]
    names: tuple[str, ...]
    kinds: tuple[str, ...]
    values: np.ndarray
    observed: np.ndarray
    excluded: pl.DataFrame

    def of_kind(self, kind: str) -> tuple[int, ...]:
        """Column numbers of the features of a kind."""
        return tuple(i for i, k in enumerate(self.kinds) if k == kind)


def feature_table(
    features: pl.DataFrame,
    observed: Collection[str],
    min_share: float = MIN_SHARE_OF_MODELS,
    aggregates: Collection[str] = (),
) -> FeatureTable:
    """Pivot one study's feature frame; keep features that enough observed models have and that vary.

    observed: ids of the models with a reward model; models of the frame beyond these are candidates.
    aggregates: benchmarks that are averages of other benchmarks (topic Aggregate): left out, because a feature that is
    the sum of others makes coefficients meaningless.
    Presence and constancy are judged once, on all observed models and outside the folds; no target is used for it.
    Raises UserError: missing columns, several studies, a model twice, a value that is no finite number, an
    observed model without publisher. Raises TooLittleData: fewer than 8 observed models with features, no usable
    size, no usable benchmark.
    """
    _check_frame(features, observed)
    features = features.filter(pl.col("feature_kind").is_in(KINDS))
    long = features.filter(pl.col("value").is_not_null())
    models = (
        features.select("model_id", "publisher", "family")
        .unique("model_id", keep="first", maintain_order=True)
        .sort("publisher", "model_id", nulls_last=True)
    )
    ids = models["model_id"].to_list()
    kinds = dict(features.select("feature", "feature_kind").unique().sort("feature_kind", "feature").iter_rows())
    wide = models.select("model_id").join(
        long.pivot("feature", index="model_id", values="value"), on="model_id", how="left", maintain_order="left"
    )
    nothing = pl.Series(values=[None] * len(ids), dtype=pl.Float64)
    columns = {name: wide.get_column(name, default=nothing).cast(pl.Float64).to_numpy().astype(float) for name in kinds}
    if LOG_SIZE not in columns and SIZE in columns:
        with np.errstate(divide="ignore", invalid="ignore"):
            columns[LOG_SIZE] = np.log10(columns[SIZE])
        kinds[LOG_SIZE] = "training"
    is_observed = np.isin(ids, list(observed))
    excluded, kept = [], []
    for name, values in columns.items():
        share = float(np.isfinite(values[is_observed]).mean())
        reason = _reason_against(values[is_observed], share, min_share)
        if name in set(aggregates):
            reason = "an average of other benchmarks"
        if not reason:
            kept.append(name)
        else:
            excluded.append((name, share, reason))
    _check_kept(kept, kinds, excluded)
    return FeatureTable(
        model_ids=tuple(ids),
        publishers=tuple(models["publisher"].fill_null("unknown").to_list()),
        families=tuple(family or model for family, model in zip(models["family"], ids, strict=True)),
        names=tuple(kept),
        kinds=tuple(kinds[name] for name in kept),
        values=np.column_stack([columns[name] for name in kept]),
        observed=is_observed,
        excluded=pl.DataFrame(
            excluded,
            schema={"feature": pl.String, "share_of_models": pl.Float64, "reason": pl.String},
            orient="row",
        ),
    )


def _check_frame(features: pl.DataFrame, observed: Collection[str]) -> None:
    missing = [name for name in FEATURE_COLUMNS if name not in features.columns]
    if missing:
        raise UserError(f"the feature frame lacks the columns {', '.join(missing)}")
    studies = features["study_id"].unique().to_list()
    if len(studies) != 1:
        raise UserError(f"the feature frame must hold one study, it holds {len(studies)}: {sorted(studies)}")
    broken = features.filter(~pl.col("value").is_finite())
    if broken.height:
        model, feature = broken.select("model_id", "feature").row(0)
        raise UserError(
            f"study {studies[0]}: {feature} of model {model} is not a finite number; leave the row out if it is unknown"
        )
    twice = features.group_by("model_id", "feature").len().filter(pl.col("len") > 1).sort("model_id", "feature")
    if twice.height:
        model, feature, _ = twice.row(0)
        raise UserError(f"study {studies[0]}: model {model} has {feature} more than once; choose one value")
    known = features.filter(pl.col("model_id").is_in(list(observed)))
    n_models = known["model_id"].n_unique()
    if n_models < MIN_MODELS:
        raise TooLittleData(
            f"study {studies[0]}: {n_models} models have both features and a reward model; "
            f"the performance model needs at least {MIN_MODELS}"
        )
    homeless = known.filter(pl.col("publisher").is_null())["model_id"].unique().sort().to_list()
    if homeless:
        raise UserError(
            f"study {studies[0]}: no publisher for {', '.join(homeless)}; folds leave out one publisher, so name it"
        )


def _reason_against(values: np.ndarray, share: float, min_share: float) -> str:
    """Reason why a feature may not enter; empty if it may. values: (observed models,)."""
    known = values[np.isfinite(values)]
    if known.size == 0:
        return "no model with a reward model has a value"
    if share < min_share:
        return f"{known.size} of {values.size} models have a value, below the stated share of {min_share:.0%}"
    if np.ptp(known) == 0:
        return f"constant: every model has {known[0]:g}"
    return ""


def _check_kept(kept: list[str], kinds: dict[str, str], excluded: list[tuple[str, float, str]]) -> None:
    reasons = "; ".join(f"{name}: {reason}" for name, _, reason in excluded) or "none was given"
    if LOG_SIZE not in kept or SIZE not in kept:
        raise TooLittleData(f"the size of the models (params_b) cannot be used as a feature ({reasons})")
    if not any(kinds[name] == "benchmark" for name in kept):
        raise TooLittleData(f"no benchmark can be used as a feature ({reasons})")
