"""Feature and result frames with a known truth (grouped models, a sparse linear law, Gaussian noise), and designs."""

from __future__ import annotations

import numpy as np
import polars as pl

from models_train.selection.design import Design, design, target_values
from models_train.selection.features import feature_table

TRUE_WEIGHTS = {"benchmark_1": 3.0, "benchmark_2": -2.5, "params_b": 2.5}
NOISE = 1.0
PUBLISHER_SIZES = (11, 6, 4, 4, 3, 3, 3, 3, 2, 1)
"""Models per publisher of the 40 published base models (arXiv 2505.10775, Table 3)."""


def simulated(
    seed: int, publishers: tuple[int, ...] = (4,) * 10, n_benchmarks: int = 10, noise: float = NOISE
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Long features and results. publishers: number of models of each; features share a publisher effect.

    score = 65 + sum of TRUE_WEIGHTS times standardised features + noise (percent points).
    """
    generator = np.random.default_rng(seed)
    owner = np.repeat(np.arange(len(publishers)), publishers)
    names = [f"benchmark_{i + 1}" for i in range(n_benchmarks)] + ["params_b", "tokens_t"]
    shared = generator.standard_normal((len(publishers), len(names)))[owner]
    values = np.sqrt(0.3) * shared + np.sqrt(0.7) * generator.standard_normal(shared.shape)
    truth = 65 + sum(weight * values[:, names.index(name)] for name, weight in TRUE_WEIGHTS.items())
    score = truth + noise * generator.standard_normal(owner.size)
    values[:, names.index("params_b")] = 4 + values[:, names.index("params_b")] * 0.9
    models = [f"model-{i:02d}" for i in range(owner.size)]
    labels = {"model_id": models, "publisher": [f"publisher-{i:02d}" for i in owner]}
    wide = pl.DataFrame(labels | dict(zip(names, values.T, strict=True)))
    features = (
        wide.with_columns(study_id=pl.lit("simulated"), family=pl.col("publisher"))
        .unpivot(names, index=[*labels, "study_id", "family"], variable_name="feature", value_name="value")
        .with_columns(feature_kind=pl.col("feature").str.extract("(benchmark)").fill_null("training"))
    )
    results = pl.DataFrame({"objective": "regression", "model_id": models, "score": score})
    return features, results


def with_placebo(features: pl.DataFrame, n_features: int = 5, seed: int = 0) -> pl.DataFrame:
    """The long feature frame plus `n_features` standard normal features, drawn once per family.

    Such a feature lets a flexible model recognise the family: useful in sample and to folds that mix publishers, and
    only leaving out the publisher shows that it holds nothing. A model without a family counts as its own. The new
    rows have feature_kind `training`.
    """
    models = (
        features.select("study_id", "model_id", "publisher", "family")
        .unique("model_id", keep="first", maintain_order=True)
        .with_columns(_family=pl.col("family").fill_null(pl.col("model_id")))
    )
    families = models["_family"].unique().sort().to_list()
    draws = np.random.default_rng(seed).standard_normal((len(families), n_features))
    values = pl.DataFrame({"_family": families} | {f"placebo_{i + 1}": draws[:, i] for i in range(n_features)})
    added = (
        models.join(values, on="_family")
        .drop("_family")
        .unpivot(index=["study_id", "model_id", "publisher", "family"], variable_name="feature", value_name="value")
        .with_columns(feature_kind=pl.lit("training"))
    )
    return pl.concat([features, added], how="diagonal")


AGGREGATES = ("leaderboard v1", "leaderboard v2")


def make_design(features: pl.DataFrame, results: pl.DataFrame, objective: str = "regression") -> Design:
    """Design of one objective's score."""
    values = target_values(results, objective, "score")
    table = feature_table(features, values, aggregates=AGGREGATES)
    return design(table, np.array([[values.get(model, np.nan)] for model in table.model_ids]))
