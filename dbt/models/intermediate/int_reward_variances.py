"""Spread of every reward within and between the items of a benchmark."""

from functools import partial

from models_train.selection.item_tables import REWARD_VARIANCES, over_benchmarks, reward_variances


def model(dbt, session):
    dbt.config(materialized="table")
    completions = session.execute(dbt.ref("int_benchmark_completions").sql_query()).pl()
    arrays = session.execute(dbt.ref("int_reward_arrays").sql_query()).pl()
    make = partial(reward_variances, resamples=dbt.config.get("resamples"))
    return over_benchmarks(make, REWARD_VARIANCES, completions, arrays).to_arrow()
