"""Correlation statistics per study, objective, target and feature: what SQL has no words for (t, p, q, intervals)."""

from models_train.selection.correlations import correlation_statistics


def model(dbt, session):
    dbt.config(materialized="table")
    # The settings stand in the model's yml; dbt reads this file for these calls, so they take literals only.
    minimum_models = dbt.config.get("minimum_models")
    resamples = dbt.config.get("resamples")
    pairs = dbt.ref("int_feature_target_pairs").pl()
    return correlation_statistics(pairs, minimum_models=minimum_models, resamples=resamples).to_arrow()
