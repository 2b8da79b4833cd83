"""Sign-flip test of two reward models on the same pairs, per category and score."""

from models_train.selection.paired_comparisons import sign_flip_tests


def model(dbt, session):
    dbt.config(materialized="table")
    # Settings are in the yml; dbt finds these calls by reading the file, so they take literals only.
    flips = dbt.config.get("flips")
    return sign_flip_tests(dbt.ref("int_paired_outcomes").pl(), flips=flips).to_arrow()
