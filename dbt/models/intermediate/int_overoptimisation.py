"""Fits of the gold reward against the distance from the policy, for best of n by every reward."""

from functools import partial

from models_train.teachers.tables import OVEROPTIMISATION, over_comparisons, overoptimisation


def model(dbt, session):
    dbt.config(materialized="table")
    cells = session.execute(dbt.ref("int_measured_responses").sql_query()).pl()
    arrays = session.execute(dbt.ref("int_response_arrays").sql_query()).pl()
    golds = session.execute(dbt.ref("stg_gold_rewards").sql_query()).pl()
    make = partial(overoptimisation, resamples=dbt.config.get("resamples"))
    return over_comparisons(make, OVEROPTIMISATION, cells, arrays, golds).to_arrow()
