"""The placebo: random features that are constant within a family, to see what a family label alone can fake.

With 40 models from a dozen families such a feature lets a flexible model recognise the family. It looks useful in
sample and to folds that mix publishers; only leaving out the publisher shows that it holds nothing. A new kind of
feature (say, the pre-training mix) counts as an improvement only if it beats this one.
"""

from __future__ import annotations

import numpy as np
import polars as pl

PREFIX = "placebo_"


def with_placebo(features: pl.DataFrame, n_features: int = 5, seed: int = 0) -> pl.DataFrame:
    """The long feature frame plus `n_features` standard normal features, drawn once per family.

    A model without a family counts as its own. The new rows have feature_kind `training`.
    """
    models = (
        features.select("study_id", "model_id", "publisher", "family")
        .unique("model_id", keep="first", maintain_order=True)
        .with_columns(_family=pl.col("family").fill_null(pl.col("model_id")))
    )
    families = models["_family"].unique().sort().to_list()
    draws = np.random.default_rng(seed).standard_normal((len(families), n_features))
    values = pl.DataFrame({"_family": families} | {f"{PREFIX}{i + 1}": draws[:, i] for i in range(n_features)})
    added = (
        models.join(values, on="_family")
        .drop("_family")
        .unpivot(index=["study_id", "model_id", "publisher", "family"], variable_name="feature", value_name="value")
        .with_columns(feature_kind=pl.lit("training"))
    )
    return pl.concat([features, added], how="diagonal")
