"""Spread, accuracy and length of every reward on the responses of every policy."""

from functools import partial

from models_train.teachers.tables import PROPERTIES, over_comparisons, teacher_properties


def model(dbt, session):
    dbt.config(materialized="table")
    cells = session.execute(dbt.ref("int_measured_responses").sql_query()).pl()
    arrays = session.execute(dbt.ref("int_response_arrays").sql_query()).pl()
    golds = session.execute(dbt.ref("stg_gold_rewards").sql_query()).pl()
    make = partial(teacher_properties, resamples=dbt.config.get("resamples"))
    return over_comparisons(make, PROPERTIES, cells, arrays, golds).to_arrow()
