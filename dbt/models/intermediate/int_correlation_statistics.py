"""Correlations with t, p, q and intervals per study, objective, target and feature."""

from models_train.selection.correlations import correlation_statistics


def model(dbt, session):
    dbt.config(materialized="table")
    # The setting is in the yml; dbt finds this call by reading the file, so it takes a literal only.
    minimum_models = dbt.config.get("minimum_models")
    pairs = dbt.ref("int_feature_target_pairs").pl()
    return correlation_statistics(pairs, minimum_models=minimum_models).to_arrow()
