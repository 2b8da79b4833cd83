"""Rewards of every source on every benchmark as one array, NaN for none: items by completions."""

from models_train.selection.item_arrays import as_arrays

NAMES = ("study_id", "reward_id", "benchmark")


def model(dbt, session):
    dbt.config(materialized="table")
    rewards, cells = dbt.ref("stg_completion_rewards").sql_query(), dbt.ref("int_benchmark_completions").sql_query()
    sources = dbt.ref("int_scored_benchmarks").sql_query()
    listed = session.execute(
        f"select {', '.join(NAMES)}, n_items * n_completions from ({sources}) order by first_place"
    ).fetchall()
    found = session.execute(
        f"""
        select first_place + item_no * n_completions + completion_no as place, reward
        from ({rewards})
        inner join ({sources}) using (study_id, reward_id, benchmark, attribute)
        inner join ({cells}) using (study_id, benchmark, subset, item_id, completion)
        where status = 'ok' and isfinite(reward)
        """
    ).fetchnumpy()
    return as_arrays(NAMES, listed, found["place"], found["reward"])
