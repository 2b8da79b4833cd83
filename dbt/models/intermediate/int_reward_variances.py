"""Spread of every reward within and between the items of a benchmark."""

import polars as pl
from threadpoolctl import threadpool_limits

from models_train.selection.item_arrays import scored_benchmarks
from models_train.selection.item_tables import REWARD_VARIANCES, reward_variances


def model(dbt, session):
    dbt.config(materialized="table")
    resamples = dbt.config.get("resamples")
    completions = session.execute(dbt.ref("int_benchmark_completions").sql_query()).pl()
    arrays = session.execute(dbt.ref("int_reward_arrays").sql_query()).pl()
    found = [pl.DataFrame(schema=pl.Schema(REWARD_VARIANCES))]
    with threadpool_limits(1):  # dbt runs two models at once
        found += [reward_variances(benchmark, resamples) for benchmark in scored_benchmarks(completions, arrays)]
    return pl.concat(found).to_arrow()
