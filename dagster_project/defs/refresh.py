"""Jobs: what `make run` and the UI start."""

import dagster as dg

from dagster_project.lib.due import BENCHMARKS as BENCHMARK_PARTS
from dagster_project.lib.due import COMPLETION_REWARDS
from dagster_project.lib.due import DOCUMENT_SCORES as DOCUMENT_SCORE_PARTS
from dagster_project.lib.due import REWARD_MODELS as REWARD_MODEL_PARTS
from dagster_project.lib.job_runs import longest_hours

# Seconds after which Dagster ends a run. Jobs end before, by a limit of their own; a run of training has two of them.
REFRESH_TAGS = {"dagster/max_runtime": str(6 * 3600)}
GPU_TAGS = {"dagster/max_runtime": str(round(2.1 * 3600 * longest_hours()))}

REWARD_MODELS = dg.AssetSelection.assets(REWARD_MODEL_PARTS, COMPLETION_REWARDS)
DOCUMENT_SCORES = dg.AssetSelection.assets(DOCUMENT_SCORE_PARTS)
BENCHMARKS = dg.AssetSelection.assets(BENCHMARK_PARTS)

refresh = dg.define_asset_job(
    name="refresh",
    selection=dg.AssetSelection.all() - REWARD_MODELS - DOCUMENT_SCORES - BENCHMARKS,
    tags=REFRESH_TAGS,
    description="All that follows from the parts: study files, raw tables, dbt, checks, report, snapshot.",
)

train_reward_models = dg.define_asset_job(
    name="train_reward_models",
    selection=REWARD_MODELS,
    tags=GPU_TAGS,
    description="Reward models of one base model by one objective: training search, then the test set.",
)

score_documents = dg.define_asset_job(
    name="score_documents",
    selection=DOCUMENT_SCORES,
    tags=GPU_TAGS,
    description="The sampled documents under one base model.",
)

run_benchmarks = dg.define_asset_job(
    name="run_benchmarks",
    selection=BENCHMARKS,
    tags=GPU_TAGS,
    description="The benchmarks of a study, run on one base model.",
)


@dg.definitions
def jobs() -> dg.Definitions:
    """Jobs, and the executor: the steps are short or processes of their own, so one process runs them all."""
    return dg.Definitions(
        jobs=[refresh, train_reward_models, score_documents, run_benchmarks], executor=dg.in_process_executor
    )
