"""Joint errors of reward models on two base models, and of two seeds of one, on every benchmark."""

from functools import partial

from models_train.selection.ensemble_partners import PARTNERS, benchmark_partners
from models_train.selection.item_tables import over_benchmarks


def model(dbt, session):
    dbt.config(materialized="table")
    completions = session.execute(dbt.ref("int_benchmark_completions").sql_query()).pl()
    arrays = session.execute(dbt.ref("int_reward_arrays").sql_query()).pl()
    sources = session.execute(dbt.ref("stg_reward_sources").sql_query()).pl()
    make = partial(benchmark_partners, sources=sources, resamples=dbt.config.get("resamples"))
    return over_benchmarks(make, PARTNERS, completions, arrays).to_arrow()
