"""Each reward model against its default, pair by pair: what SQL has no words for (exact test, bootstrap)."""

from models_train.selection.paired_comparisons import comparison_statistics


def model(dbt, session):
    dbt.config(materialized="table")
    # The settings stand in the model's yml; dbt reads this file for these calls, so they take literals only.
    resamples = dbt.config.get("resamples")
    counts = dbt.ref("int_default_comparisons").pl()
    return comparison_statistics(counts, resamples=resamples).to_arrow()
