"""Rewards of every source on the responses of every policy as one array, NaN for none: prompts by responses."""

from models_train.selection.item_arrays import Cells, fetch_arrays

SET = ("study_id", "policy_id", "prompt_set")
COLUMNS = Cells((*SET, "reward_id"), (*SET, "prompt_id", "response_no"), "prompt", "column")


def model(dbt, session):
    dbt.config(materialized="table")
    rewards, cells = dbt.ref("stg_response_rewards").sql_query(), dbt.ref("int_measured_responses").sql_query()
    return fetch_arrays(session, COLUMNS, rewards, cells, dbt.ref("int_rewarded_responses").sql_query())
