"""Errors that rewards share: pair by pair, and by class of pairs."""

import polars as pl
from threadpoolctl import threadpool_limits

from models_train.selection.item_arrays import scored_benchmarks
from models_train.selection.item_tables import CORRELATIONS, shared_errors


def model(dbt, session):
    dbt.config(materialized="table")
    resamples = dbt.config.get("resamples")
    completions = session.execute(dbt.ref("int_benchmark_completions").sql_query()).pl()
    arrays = session.execute(dbt.ref("int_reward_arrays").sql_query()).pl()
    sources = session.execute(dbt.ref("stg_reward_sources").sql_query()).pl()
    found = [pl.DataFrame(schema=pl.Schema(CORRELATIONS))]
    with threadpool_limits(1):  # dbt runs two models at once
        found += [shared_errors(benchmark, sources, resamples) for benchmark in scored_benchmarks(completions, arrays)]
    return pl.concat(found).to_arrow()
