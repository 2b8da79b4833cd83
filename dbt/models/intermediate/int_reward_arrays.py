"""Rewards of every source on every benchmark as one array, NaN for none: items by completions."""

from models_train.selection.item_arrays import Cells, fetch_arrays

CELL = ("study_id", "benchmark", "subset", "item_id", "completion")
COLUMNS = Cells(("study_id", "reward_id", "benchmark"), CELL, "item", "completion")


def model(dbt, session):
    dbt.config(materialized="table")
    rewards, cells = dbt.ref("stg_completion_rewards").sql_query(), dbt.ref("int_benchmark_completions").sql_query()
    return fetch_arrays(session, COLUMNS, rewards, cells, dbt.ref("int_scored_benchmarks").sql_query())
