"""Reward models: one training search and one evaluation per base model and objective, as jobs in the pool `gpu`."""

from collections.abc import Callable

import dagster as dg

from dagster_project.defs.jobs import RunHome
from dagster_project.lib import keys
from dagster_project.lib.due import study_files
from dagster_project.lib.failures import JOB_RETRIES, as_dagster_failure
from dagster_project.lib.jobs import job_command, model_of, nothing_to_do, run_job, with_costs
from models_train.study.fingerprints import TRAINING_VERSION, evaluation_run_id, training_run_id

VERSION = f"training-{TRAINING_VERSION}"


@dg.asset(
    key=keys.REWARD_MODELS,
    deps=[keys.STUDIES],
    partitions_def=keys.REWARD_MODEL_PARTITIONS,
    group_name="training",
    owners=["team:training"],
    kinds={"torch", "parquet"},
    pool=keys.GPU_POOL,
    retry_policy=JOB_RETRIES,
    code_version=VERSION,
    description="A reward model of each base model by each objective: the search over learning rates, its runs, "
    "learning curves and checkpoints as parts (paper, Section 3.1).",
)
def reward_models(
    context: dg.AssetExecutionContext, run_home: RunHome, pipes: dg.PipesSubprocessClient
) -> dg.MaterializeResult:
    """Run `models_train.jobs.train_reward_model` for the partition; an interrupted search resumes."""
    return _run(context, run_home, pipes, "train_reward_model", training_run_id)


@dg.asset(
    key=keys.COMPLETION_REWARDS,
    deps=[keys.REWARD_MODELS],
    partitions_def=keys.REWARD_MODEL_PARTITIONS,
    group_name="training",
    owners=["team:training"],
    kinds={"torch", "parquet"},
    pool=keys.GPU_POOL,
    retry_policy=JOB_RETRIES,
    code_version=VERSION,
    description="The reward of every completion of the test set, by each reward model (definitions, Section 1).",
)
def completion_rewards(
    context: dg.AssetExecutionContext, run_home: RunHome, pipes: dg.PipesSubprocessClient
) -> dg.MaterializeResult:
    """Run `models_train.jobs.score_completions` for the partition."""
    return _run(context, run_home, pipes, "score_completions", evaluation_run_id)


def _run(
    context: dg.AssetExecutionContext,
    run_home: RunHome,
    pipes: dg.PipesSubprocessClient,
    job: str,
    run_id: Callable[..., str],
) -> dg.MaterializeResult:
    """One job for the base model and objective of the context's partition; run_id: names the parts that it makes."""
    partition = context.partition_key.keys_by_dimension
    with as_dagster_failure(context):
        path, study, model = model_of(study_files(), partition["base_model"])
    objective = partition["objective"]
    if study.training is None or objective not in study.training.objectives:
        return nothing_to_do(f"{path.name} trains no reward model by {objective}; list it under training: objectives")
    if not study.by_id[model].is_compared:
        return nothing_to_do(f"{path.name} compares no reward model of {model}: a candidate, or is_compared is false")
    command = job_command(job, path, run_home.home, model, "--objective", objective)
    done = run_job(context, pipes, command)
    made = run_id(study.by_id[model], study.training, objective, path.parent)
    return with_costs(done.get_materialize_result(), run_home.home, study, made)
