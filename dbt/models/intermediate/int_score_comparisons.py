"""Every pair of rewards on the items of both: on a benchmark and on each of its subsets."""

from functools import partial

from models_train.selection.item_tables import COMPARISONS, over_benchmarks, score_comparisons


def model(dbt, session):
    dbt.config(materialized="table")
    completions = session.execute(dbt.ref("int_benchmark_completions").sql_query()).pl()
    arrays = session.execute(dbt.ref("int_reward_arrays").sql_query()).pl()
    subsets = session.execute(dbt.ref("int_benchmark_subsets").sql_query()).pl()
    make = partial(score_comparisons, subsets=subsets, resamples=dbt.config.get("resamples"))
    return over_benchmarks(make, COMPARISONS, completions, arrays).to_arrow()
