"""Coverage of a feature minus that of size alone, with its interval over publishers."""

from models_train.selection.coverage import coverage_differences


def model(dbt, session):
    dbt.config(materialized="table")
    # The setting is in the yml; dbt finds this call by reading the file, so it takes a literal only.
    steps = dbt.config.get("steps")
    return coverage_differences(dbt.ref("int_feature_target_pairs").pl(), steps).to_arrow()
