"""Every pair of rewards on the items of both: on a benchmark and on each of its subsets."""

import polars as pl
from threadpoolctl import threadpool_limits

from models_train.selection.item_arrays import scored_benchmarks
from models_train.selection.item_tables import COMPARISONS, score_comparisons


def model(dbt, session):
    dbt.config(materialized="table")
    resamples = dbt.config.get("resamples")
    completions = session.execute(dbt.ref("int_benchmark_completions").sql_query()).pl()
    arrays = session.execute(dbt.ref("int_reward_arrays").sql_query()).pl()
    subsets = session.execute(dbt.ref("int_benchmark_subsets").sql_query()).pl()
    found = [pl.DataFrame(schema=pl.Schema(COMPARISONS))]
    with threadpool_limits(1):  # dbt runs two models at once
        found += [
            score_comparisons(benchmark, subsets, resamples) for benchmark in scored_benchmarks(completions, arrays)
        ]
    return pl.concat(found).to_arrow()
