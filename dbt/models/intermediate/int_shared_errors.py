"""Errors that rewards share: pair by pair, and by class of pairs."""

from functools import partial

from models_train.selection.item_tables import CORRELATIONS, over_benchmarks, shared_errors


def model(dbt, session):
    dbt.config(materialized="table")
    completions = session.execute(dbt.ref("int_benchmark_completions").sql_query()).pl()
    arrays = session.execute(dbt.ref("int_reward_arrays").sql_query()).pl()
    sources = session.execute(dbt.ref("stg_reward_sources").sql_query()).pl()
    make = partial(shared_errors, sources=sources, resamples=dbt.config.get("resamples"))
    return over_benchmarks(make, CORRELATIONS, completions, arrays).to_arrow()
