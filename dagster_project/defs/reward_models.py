"""Reward models: one training search and one evaluation per base model and objective, as jobs in the pool `gpu`."""

from collections.abc import Callable

import dagster as dg

from dagster_project.defs import base_models
from dagster_project.defs.resources import RunHome
from dagster_project.lib.due import COMPLETION_REWARDS, REWARD_MODELS, study_files
from dagster_project.lib.failures import JOB_RETRIES, told
from dagster_project.lib.job_runs import job_command, model_of, nothing_to_do, run_job, with_costs
from dagster_project.lib.partitions import REWARD_MODELS as PARTITIONS
from models_train.study.fingerprints import TRAINING_VERSION, evaluation_run_id, training_run_id

VERSION = f"training-{TRAINING_VERSION}"


@dg.asset(
    key=REWARD_MODELS,
    deps=[base_models.KEY],
    partitions_def=PARTITIONS,
    group_name="reward_models",
    owners=["team:training"],
    kinds={"torch", "parquet"},
    pool="gpu",
    retry_policy=JOB_RETRIES,
    code_version=VERSION,
    description="A reward model of each base model by each objective: the search over learning rates, its runs, "
    "learning curves and checkpoints as parts (paper, Section 3.1).",
)
def reward_models(
    context: dg.AssetExecutionContext, run_home: RunHome, pipes: dg.PipesSubprocessClient
) -> dg.MaterializeResult:
    """Run `models_train.jobs.train_reward_model` for the partition; an interrupted search goes on where it was."""
    return _run(context, run_home, pipes, "train_reward_model", training_run_id)


@dg.asset(
    key=COMPLETION_REWARDS,
    deps=[REWARD_MODELS],
    partitions_def=PARTITIONS,
    group_name="reward_models",
    owners=["team:training"],
    kinds={"torch", "parquet"},
    pool="gpu",
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
    keys = context.partition_key.keys_by_dimension
    with told(context):
        path, study, model = model_of(study_files(), keys["base_model"])
    objective = keys["objective"]
    if study.training is None or objective not in study.training.objectives:
        return nothing_to_do(f"{path.name} trains no reward model by {objective}; list it under training: objectives")
    if not study.by_id[model].is_compared:
        return nothing_to_do(f"{path.name} compares no reward model of {model}: a candidate, or is_compared is false")
    command = job_command(job, path, run_home.home, model, "--objective", objective)
    done = run_job(context, pipes, command)
    made = run_id(study.by_id[model], study.training, objective, path.parent)
    return with_costs(done.get_materialize_result(), run_home.home, study, made)
