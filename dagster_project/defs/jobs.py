"""Jobs that `make run`, the sensors and the UI start; their executor and the resources of their steps."""

import os
from collections.abc import Generator
from contextlib import contextmanager

import dagster as dg

from dagster_project.environment import settings
from dagster_project.lib import keys
from dagster_project.lib.jobs import job_client
from dagster_project.lib.locks import shared_run_lock
from models_train.machine import WORKERS
from models_train.processes import end_in_time
from warehouse.paths import Home

# Time limits of runs, in seconds. Jobs end earlier, by their own limit; a training run has two jobs.
REFRESH_TAGS = {"dagster/max_runtime": str(6 * 3600)}
GPU_TAGS = {"dagster/max_runtime": str(round(2.1 * 3600 * settings().job_hours))}

GPU_WORK = dg.AssetSelection.assets(*keys.GPU_PARTS)


class RunHome(dg.ConfigurableResource):
    """The run-time folder, by default the one that REWARDBASE_HOME names."""

    @property
    def home(self) -> Home:
        """Paths of the parts, the warehouse, the snapshots and the reports."""
        return Home.from_environment()

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Generator["RunHome", None, None]:
        """Hold the shared run lock while a run executes, which ends in time when it is terminated in the UI."""
        if context.run is None:
            yield self
            return
        end_in_time()
        with shared_run_lock(self.home, context.run):
            yield self


def job_environment() -> dict[str, str]:
    """Environment variables of jobs beside this process's: how many share the machine, and their threads."""
    workers = settings().workers
    threads = max(1, (os.cpu_count() or 1) // workers)
    threaded = {} if "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": str(threads)}
    return {WORKERS: str(workers)} | threaded


refresh = dg.define_asset_job(
    name="refresh",
    selection=dg.AssetSelection.all() - GPU_WORK,
    tags=REFRESH_TAGS,
    description="Everything but GPU work: study files, raw tables, dbt, performance model, report, snapshot.",
)

train_reward_models = dg.define_asset_job(
    name="train_reward_models",
    selection=dg.AssetSelection.assets(keys.REWARD_MODELS, keys.COMPLETION_REWARDS),
    tags=GPU_TAGS,
    description="Reward models of one base model by one objective: training search, then the benchmarks of the study.",
)

score_reward_models = dg.define_asset_job(
    name="score_reward_models",
    selection=dg.AssetSelection.assets(keys.HUB_REWARDS),
    tags=GPU_TAGS,
    description="The benchmarks of a study under one reward model of a hub or folder.",
)

score_documents = dg.define_asset_job(
    name="score_documents",
    selection=dg.AssetSelection.assets(keys.DOCUMENT_SCORES),
    tags=GPU_TAGS,
    description="The sampled documents under one base model.",
)

run_benchmarks = dg.define_asset_job(
    name="run_benchmarks",
    selection=dg.AssetSelection.assets(keys.BENCHMARKS),
    tags=GPU_TAGS,
    description="The benchmarks of a study, run on one base model.",
)

sample_policies = dg.define_asset_job(
    name="sample_policies",
    selection=dg.AssetSelection.assets(keys.RESPONSES),
    tags=GPU_TAGS,
    description="The responses of one policy to the prompts of its study.",
)


teach_policies = dg.define_asset_job(
    name="teach_policies",
    selection=dg.AssetSelection.assets(keys.POLICY_RUNS),
    tags=GPU_TAGS,
    description="A policy run: one policy, trained by one reward with one method and seed.",
)

race_base_models = dg.define_asset_job(
    name="race_base_models",
    selection=dg.AssetSelection.assets(keys.RACES),
    tags=GPU_TAGS,
    description="A race of the base models of one study.",
)


JOBS = [
    refresh,
    train_reward_models,
    score_reward_models,
    score_documents,
    run_benchmarks,
    sample_policies,
    teach_policies,
    race_base_models,
]
"""All jobs, which the sensor of due work starts."""


@dg.definitions
def jobs() -> dg.Definitions:
    """Jobs, resources, and the executor: steps are short or start processes, so one process runs them all."""
    return dg.Definitions(
        jobs=JOBS,
        resources={"run_home": RunHome(), "pipes": job_client(job_environment())},
        executor=dg.in_process_executor,
    )
