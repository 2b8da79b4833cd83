"""Rewards of every source on the responses of every policy as one array, NaN for none: prompts by responses."""

from models_train.selection.item_arrays import as_arrays

NAMES = ("study_id", "policy_id", "prompt_set", "reward_id")


def model(dbt, session):
    dbt.config(materialized="table")
    rewards, cells = dbt.ref("stg_response_rewards").sql_query(), dbt.ref("int_measured_responses").sql_query()
    sources = dbt.ref("int_rewarded_responses").sql_query()
    listed = session.execute(
        f"select {', '.join(NAMES)}, n_prompts * n_columns from ({sources}) order by first_place"
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
    return as_arrays(NAMES, listed, found["place"], found["reward"])
