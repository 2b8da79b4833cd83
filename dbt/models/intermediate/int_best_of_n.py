"""What choosing the best of n responses by every reward gains."""

from functools import partial

from models_train.teachers.tables import BEST_OF_N, Settings, best_of_n, over_comparisons


def model(dbt, session):
    dbt.config(materialized="table")
    cells = session.execute(dbt.ref("int_measured_responses").sql_query()).pl()
    arrays = session.execute(dbt.ref("int_response_arrays").sql_query()).pl()
    golds = session.execute(dbt.ref("stg_gold_rewards").sql_query()).pl()
    settings = Settings.of(session.execute(dbt.ref("stg_teacher_settings").sql_query()).pl())
    make = partial(best_of_n, settings=settings, resamples=dbt.config.get("resamples"))
    return over_comparisons(make, BEST_OF_N, cells, arrays, golds).to_arrow()
