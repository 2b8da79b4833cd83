"""Every predictor of what reward models teach beside accuracy on the policy, and beside RewardBench."""

from models_train.selection.teacher_predictors import predictor_comparisons


def model(dbt, session):
    dbt.config(materialized="table")
    return predictor_comparisons(dbt.ref("int_own_teacher_pairs").pl(), dbt.config.get("resamples")).to_arrow()
