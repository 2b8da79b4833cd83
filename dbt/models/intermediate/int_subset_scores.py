"""Mean and variance of each metric over the items of a subset, for every reward."""

import polars as pl

from models_train.selection.item_arrays import scored_benchmarks
from models_train.selection.item_tables import SUBSET_SCORES, subset_scores


def model(dbt, session):
    dbt.config(materialized="table")
    completions = session.execute(dbt.ref("int_benchmark_completions").sql_query()).pl()
    arrays = session.execute(dbt.ref("int_reward_arrays").sql_query()).pl()
    found = [pl.DataFrame(schema=pl.Schema(SUBSET_SCORES))]
    found += [subset_scores(benchmark) for benchmark in scored_benchmarks(completions, arrays)]
    return pl.concat(found).to_arrow()
