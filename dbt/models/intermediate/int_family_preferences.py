"""Whether rewards of a family prefer the answers of generators of a family."""

from functools import partial

from models_train.selection.item_tables import PREFERENCES, family_preferences, over_benchmarks


def model(dbt, session):
    dbt.config(materialized="table")
    completions = session.execute(dbt.ref("int_benchmark_completions").sql_query()).pl()
    arrays = session.execute(dbt.ref("int_reward_arrays").sql_query()).pl()
    sources = session.execute(dbt.ref("stg_reward_sources").sql_query()).pl()
    make = partial(family_preferences, sources=sources, resamples=dbt.config.get("resamples"))
    return over_benchmarks(make, PREFERENCES, completions, arrays).to_arrow()
