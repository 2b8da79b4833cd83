"""Exact test and bootstrap of each reward model against its default, pair by pair."""

from models_train.selection.paired_comparisons import comparison_statistics


def model(dbt, session):
    dbt.config(materialized="table")
    # Settings are in the yml; dbt finds these calls by reading the file, so they take literals only.
    resamples = dbt.config.get("resamples")
    counts = dbt.ref("int_default_comparisons").pl()
    return comparison_statistics(counts, resamples=resamples).to_arrow()
