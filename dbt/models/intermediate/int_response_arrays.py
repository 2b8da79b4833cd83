"""Rewards of every source on the responses of every policy as one array, NaN for none: prompts by responses."""

import numpy as np
import pyarrow as pa

SCHEMA = pa.schema(
    {name: pa.string() for name in ("study_id", "policy_id", "prompt_set", "reward_id")} | {"rewards": pa.binary()}
)


def model(dbt, session):
    dbt.config(materialized="table")
    rewards, cells = dbt.ref("stg_response_rewards").sql_query(), dbt.ref("int_measured_responses").sql_query()
    sources = dbt.ref("int_rewarded_responses").sql_query()
    listed = session.execute(
        "select study_id, policy_id, prompt_set, reward_id, n_prompts * n_columns "
        f"from ({sources}) order by first_place"
    ).fetchall()
    found = session.execute(
        f"""
        select first_place + prompt_no * n_columns + column_no as place, reward
        from ({rewards})
        inner join ({sources}) using (study_id, reward_id, policy_id, prompt_set, attribute)
        inner join ({cells}) using (study_id, policy_id, prompt_set, prompt_id, response_no)
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
