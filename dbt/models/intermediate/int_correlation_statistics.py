"""Correlations with t, p, q and intervals per study, objective, target and feature."""

from models_train.selection.correlations import correlation_statistics


def model(dbt, session):
    dbt.config(materialized="table")
    # Settings are in the yml; dbt finds these calls by reading the file, so they take literals only.
    minimum_models = dbt.config.get("minimum_models")
    resamples = dbt.config.get("resamples")
    pairs = dbt.ref("int_feature_target_pairs").pl()
    return correlation_statistics(pairs, minimum_models=minimum_models, resamples=resamples).to_arrow()
