"""Correlations of properties of reward models with what they taught: published, printed, and measured here."""

import polars as pl

from models_train.selection.teacher_predictors import predictor_statistics, printed_statistics


def model(dbt, session):
    dbt.config(materialized="table")
    computed = predictor_statistics(dbt.ref("int_teacher_pairs").pl())
    printed = printed_statistics(dbt.ref("stg_printed_teacher_correlations").pl())
    own = predictor_statistics(dbt.ref("int_own_teacher_pairs").pl(), resamples=dbt.config.get("resamples"))
    return pl.concat([computed, printed, own]).to_arrow()
