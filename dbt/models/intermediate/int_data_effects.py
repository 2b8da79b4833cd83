"""Reward models of variants of the preferences less those of the preferences themselves, on policies."""

from models_train.teachers.data_effects import data_effects


def model(dbt, session):
    dbt.config(materialized="table")
    cells = session.execute(dbt.ref("int_measured_responses").sql_query()).pl()
    arrays = session.execute(dbt.ref("int_response_arrays").sql_query()).pl()
    golds = session.execute(dbt.ref("stg_gold_rewards").sql_query()).pl()
    runs = session.execute(dbt.ref("int_policy_run_prompts").sql_query()).pl()
    variants = session.execute(dbt.ref("int_data_variants").sql_query()).pl()
    return data_effects(cells, arrays, golds, runs, variants, dbt.config.get("resamples")).to_arrow()
