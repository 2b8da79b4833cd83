"""Whether reward models and ensembles know when they are wrong, on the responses of every policy."""

from functools import partial

from models_train.teachers.tables import UNCERTAINTY, Settings, over_comparisons, reward_uncertainty


def model(dbt, session):
    dbt.config(materialized="table")
    cells = session.execute(dbt.ref("int_measured_responses").sql_query()).pl()
    arrays = session.execute(dbt.ref("int_response_arrays").sql_query()).pl()
    golds = session.execute(dbt.ref("stg_gold_rewards").sql_query()).pl()
    sources = session.execute(dbt.ref("stg_reward_sources").sql_query()).pl()
    settings = Settings.of(session.execute(dbt.ref("stg_teacher_settings").sql_query()).pl(), sources)
    make = partial(reward_uncertainty, settings=settings, resamples=dbt.config.get("resamples"))
    return over_comparisons(make, UNCERTAINTY, cells, arrays, golds).to_arrow()
