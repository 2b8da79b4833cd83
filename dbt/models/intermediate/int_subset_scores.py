"""Mean and variance of each metric over the items of a subset, for every reward."""

from models_train.selection.item_tables import SUBSET_SCORES, over_benchmarks, subset_scores


def model(dbt, session):
    dbt.config(materialized="table")
    completions = session.execute(dbt.ref("int_benchmark_completions").sql_query()).pl()
    arrays = session.execute(dbt.ref("int_reward_arrays").sql_query()).pl()
    return over_benchmarks(subset_scores, SUBSET_SCORES, completions, arrays).to_arrow()
