"""Rewards of every source on every benchmark as one array, NaN for none: items by completions."""

import numpy as np
import pyarrow as pa

SCHEMA = pa.schema({name: pa.string() for name in ("study_id", "reward_id", "benchmark")} | {"rewards": pa.binary()})


def model(dbt, session):
    dbt.config(materialized="table")
    rewards, cells = dbt.ref("stg_completion_rewards").sql_query(), dbt.ref("int_benchmark_completions").sql_query()
    sources = dbt.ref("int_scored_benchmarks").sql_query()
    listed = session.execute(
        f"select study_id, reward_id, benchmark, n_items * n_completions from ({sources}) order by first_place"
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
    ends = np.cumsum([0, *(size for *_, size in listed)])
    whole = np.full(ends[-1], np.nan)
    whole[found["place"]] = found["reward"]
    blobs = [one.tobytes() for one in np.split(whole, ends[1:-1])] if listed else []
    columns = [*list(zip(*listed, strict=True))[:-1], blobs] if listed else [[]] * len(SCHEMA)
    return pa.table(
        [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)], schema=SCHEMA
    )
