"""Joint errors of reward models on two base models, and of two seeds of one: on benchmarks, and on responses."""

from functools import partial

import polars as pl

from models_train.selection.ensemble_partners import PARTNERS, benchmark_partners
from models_train.selection.item_tables import over_benchmarks
from models_train.teachers.evidence import response_partners
from models_train.teachers.tables import over_comparisons


def model(dbt, session):
    dbt.config(materialized="table")
    completions, rewards, sources, cells, arrays, golds = (
        session.execute(relation.sql_query()).pl()
        for relation in (
            dbt.ref("int_benchmark_completions"),
            dbt.ref("int_reward_arrays"),
            dbt.ref("stg_reward_sources"),
            dbt.ref("int_measured_responses"),
            dbt.ref("int_response_arrays"),
            dbt.ref("stg_gold_rewards"),
        )
    )
    facts = {"sources": sources, "resamples": dbt.config.get("resamples")}
    on_benchmarks = over_benchmarks(partial(benchmark_partners, **facts), PARTNERS, completions, rewards)
    on_policies = over_comparisons(partial(response_partners, **facts), PARTNERS, cells, arrays, golds)
    return pl.concat([on_benchmarks, on_policies]).to_arrow()
