"""Ensembles of reward models beside their members, on the benchmarks of every study."""

from functools import partial

from models_train.selection.item_tables import over_benchmarks
from models_train.teachers.benchmark_ensembles import BENCHMARK_ENSEMBLES, benchmark_ensembles
from models_train.teachers.tables import Settings


def model(dbt, session):
    dbt.config(materialized="table")
    completions = session.execute(dbt.ref("int_benchmark_completions").sql_query()).pl()
    rewards = session.execute(dbt.ref("int_reward_arrays").sql_query()).pl()
    sources = session.execute(dbt.ref("stg_reward_sources").sql_query()).pl()
    settings = Settings.of(session.execute(dbt.ref("stg_teacher_settings").sql_query()).pl(), sources)
    make = partial(benchmark_ensembles, settings=settings, resamples=dbt.config.get("resamples"))
    return over_benchmarks(make, BENCHMARK_ENSEMBLES, completions, rewards).to_arrow()
