"""What checks add to rewards, on every benchmark and on the responses of every policy."""

from functools import partial

import polars as pl

from models_train.selection.item_tables import over_benchmarks
from models_train.teachers.agentic_tables import GAINS, benchmark_gains, policy_gains
from models_train.teachers.tables import Settings, over_comparisons


def model(dbt, session):
    dbt.config(materialized="table")
    weights = session.execute(dbt.ref("stg_agentic_weights").sql_query()).pl()
    used = (
        f"(select study_id, unnest([reward_id, plain_reward_id]) as reward_id "
        f"from ({dbt.ref('stg_agentic_weights').sql_query()}))"
    )
    completions = session.execute(dbt.ref("int_benchmark_completions").sql_query()).pl()
    on_benchmarks = session.execute(
        f"from ({dbt.ref('int_reward_arrays').sql_query()}) semi join {used} using (study_id, reward_id)"
    ).pl()
    cells = session.execute(dbt.ref("int_measured_responses").sql_query()).pl()
    golds = session.execute(dbt.ref("stg_gold_rewards").sql_query()).pl()
    of_golds = f"(select study_id, gold_id as reward_id from ({dbt.ref('stg_gold_rewards').sql_query()}))"
    on_responses = session.execute(
        f"from ({dbt.ref('int_response_arrays').sql_query()}) "
        f"semi join (from {used} union from {of_golds}) using (study_id, reward_id)"
    ).pl()
    settings = Settings.of(session.execute(dbt.ref("stg_teacher_settings").sql_query()).pl())
    resamples = dbt.config.get("resamples")
    of_benchmarks = over_benchmarks(
        partial(benchmark_gains, weights=weights, resamples=resamples), GAINS, completions, on_benchmarks
    )
    make = partial(policy_gains, weights=weights, resamples=resamples, settings=settings)
    return pl.concat([of_benchmarks, over_comparisons(make, GAINS, cells, on_responses, golds)]).to_arrow()
