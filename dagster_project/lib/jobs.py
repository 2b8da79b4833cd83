"""Steps that run a job of `models_train.jobs` as a process: command, time limit, failures, costs, and the Pipes client.

The Pipes client forks jobs from a server process that has the heavy libraries loaded: starting Python with torch costs
seconds of CPU per job. Each process that runs jobs has one such server, which starts with its first job and ends with
it. The server only loads modules; it starts no thread and opens no device, so a fork of it equals a fresh start.
"""

from __future__ import annotations

import gc
import importlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any

import dagster as dg

from dagster_project.environment import settings
from dagster_project.lib.failures import give_up, try_again
from dagster_project.lib.keys import (
    models_by_partition,
    policies_by_partition,
    policy_runs_by_partition,
    rewards_by_partition,
)
from dagster_project.lib.locks import CUT_SHORT
from dagster_project.lib.ray_jobs import RayJob, is_elsewhere, reason
from models_train.errors import UserError
from models_train.machine import KILLED, group_kills, out_of_memory
from models_train.parts import part_path, part_rows
from models_train.processes import descendants, end_processes, tree
from models_train.study.study import Study
from warehouse.paths import Home

FAILURE, MAY_PASS, ASSET_KEY = "failure", "may_pass", "asset_key"
"""Fields of a job's report: the failure message, whether a retry may help; and the Pipes extra with the asset key."""
_GRACE_SECONDS = 30.0
"""Time that a job has between SIGTERM and SIGKILL, in seconds."""
JOBS = "models_train.jobs."
LOADED = [
    JOBS + name
    for name in (
        "train_reward_model",
        "score_completions",
        "score_reward_model",
        "score_documents",
        "run_benchmarks",
        "sample_responses",
        "teach_policy",
        "race",
    )
]
ON_CLUSTER = [*(job for job in LOADED if job != JOBS + "race"), JOBS + "sample_documents"]
"""Jobs that are sent to a cluster: long work, and what it reads."""
SERVER_LOST = 255
"""Exit status of a job whose server was killed, as the library of processes reports it."""
_STREAMS = (1, 2)


def job_command(name: str, path: Path, home: Home, model: str | None = None, *more: str) -> list[str]:
    """Command line of a job in `models_train.jobs` for a study file and one of its models."""
    command = [sys.executable, "-m", f"models_train.jobs.{name}", "--study", str(path), "--home", str(home.root)]
    return [*command, *(["--model", model] if model is not None else []), *more]


def run_job(
    context: dg.AssetExecutionContext,
    pipes: dg.PipesSubprocessClient,
    command: list[str],
    key: dg.AssetKey | None = None,
) -> dg.PipesClientCompletedInvocation:
    """Run a job and return its report. key: the asset that it makes, where the step makes several.

    Raises dagster.Failure with the job's message after a failure, or after the time limit, and RetryRequested from it
    after a failure that may pass.
    """
    extras = {ASSET_KEY: key.to_escaped_user_string()} if key is not None else {}
    hours = settings().job_hours
    with _ended_after(hours * 3600, pipes) as too_long:
        try:
            done = pipes.run(command=command, context=context, extras=extras)
        except dg.DagsterExecutionInterruptedError:
            _tag_cut_short(context)
            raise
        except dg.Failure as failure:
            if not too_long.is_set():
                raise try_again() from failure
        except UserError as error:
            raise give_up(context, str(error)) from error
        except Exception:
            if not too_long.is_set():
                raise
    if too_long.is_set():
        text = f"{command[2]} did not end within {hours:g} hours and was stopped; raise REWARDBASE_JOB_HOURS"
        raise give_up(context, text)
    for message in done.get_custom_messages():
        if message.get(MAY_PASS):
            raise try_again() from dg.Failure(description=message[FAILURE])
        raise give_up(context, message[FAILURE])
    return done


def _tag_cut_short(context: dg.AssetExecutionContext) -> None:
    """Mark a run that ends with its program: its work is due at once. Not one that a person terminated in the UI."""
    run = context.instance.get_run_by_id(context.run.run_id)
    if run is not None and run.status != dg.DagsterRunStatus.CANCELING:
        context.instance.add_run_tags(run.run_id, {CUT_SHORT: "yes"})


@contextmanager
def _ended_after(seconds: float, pipes: dg.PipesSubprocessClient) -> Iterator[threading.Event]:
    """End the processes that are started inside when their time is up, and the job of `pipes` on a cluster; the event
    is set if that happened.

    SIGTERM comes first, so that a job can save its state.
    """
    before = {child.pid for child in descendants()}
    too_long = threading.Event()

    def end() -> None:
        too_long.set()
        if isinstance(pipes, ClusterJobs):
            pipes.stop()
        started = [child for child in descendants() if child.pid not in before]
        end_processes(started, signal.SIGTERM, _GRACE_SECONDS)

    timer = threading.Timer(min(seconds, threading.TIMEOUT_MAX), end)
    timer.daemon = True
    timer.start()
    try:
        yield too_long
    finally:
        timer.cancel()


def with_costs(result: dg.MaterializeResult, home: Home, study: Study, *run_ids: str) -> dg.MaterializeResult:
    """The result with the costs of the work, from its parts of `run_costs`; unchanged where there is no such part."""
    parts = [part_path(home.parts, "run_costs", study.study_id, run_id) for run_id in run_ids]
    rows = [row for part in parts if part.exists() for row in part_rows(part)]
    if not rows:
        return result
    memory = [row["peak_memory_bytes"] for row in rows if row["peak_memory_bytes"] is not None]
    costs = {
        "device seconds": round(sum(row["device_seconds"] for row in rows), 1),
        "tokens": sum(row["n_tokens"] for row in rows),
        "device": ", ".join(sorted({f"{row['n_devices']} x {row['device']}" for row in rows})),
    }
    if memory:
        costs["peak memory, GB"] = round(max(memory) / 1e9, 3)
    return result._replace(metadata={**(result.metadata or {}), **costs})


def nothing_to_do(text: str) -> dg.MaterializeResult:
    """The result of a partition that no study asks for: a backfill of all partitions must not fail on it."""
    return dg.MaterializeResult(metadata={"nothing to do": text})


def run_for_studies(
    context: dg.AssetExecutionContext,
    pipes: dg.PipesSubprocessClient,
    home: Home,
    key: dg.AssetKey,
    job: str,
    paths: Sequence[Path],
) -> dg.MaterializeResult:
    """Run a job for every study file; returns the asset `key` with the rows that the jobs reported."""
    done = (run_job(context, pipes, job_command(job, path, home), key) for path in paths)
    rows = sum(_row_count(one.get_materialize_result(implicit_materialization=False)) for one in done)
    return dg.MaterializeResult(asset_key=key, metadata={"dagster/row_count": rows, "studies": len(paths)})


def _row_count(result: dg.MaterializeResult) -> int:
    """Rows that a job reported: Dagster wraps the value, or not."""
    value: Any = (result.metadata or {}).get("rows", 0)
    return int(getattr(value, "value", value))


def model_of(studies: Mapping[Path, Study], key: str) -> tuple[Path, Study, str]:
    """Study file, study and model of a partition key. Raises dagster.Failure for one that no study file has."""
    return _named_by(studies, key, models_by_partition)


def reward_of(studies: Mapping[Path, Study], key: str) -> tuple[Path, Study, str]:
    """The same with the reward_id of a reward model of a hub or folder."""
    return _named_by(studies, key, rewards_by_partition)


def policy_of(studies: Mapping[Path, Study], key: str) -> tuple[Path, Study, str]:
    """The same with the policy_id of a policy that is sampled."""
    return _named_by(studies, key, policies_by_partition)


def policy_run_of(studies: Mapping[Path, Study], key: str) -> tuple[Path, Study, str]:
    """The same with the name of a policy run."""
    return _named_by(studies, key, policy_runs_by_partition)


def race_of(studies: Mapping[Path, Study], key: str) -> tuple[Path, Study, str]:
    """The same with the study_id of a study, which need not have a race of its own."""
    return _named_by(studies, key, lambda study: {study.study_id: study.study_id})


def _named_by(
    studies: Mapping[Path, Study], key: str, names_of: Callable[[Study], Mapping[str, str]]
) -> tuple[Path, Study, str]:
    for path, study in studies.items():
        name = names_of(study).get(key)
        if name is not None:
            return path, study, name
    text = f"{key}: no study file names this model any more; materialize parts/studies to retire the partition"
    raise dg.Failure(description=text, allow_retries=False)


class JobProcesses(dg.PipesSubprocessClient):
    """A Pipes client that runs `python -m models_train.jobs.X` as a fork, and any other command as a process."""

    def run(  # type: ignore[override]  # as in its own superclass
        self,
        *,
        context: dg.OpExecutionContext | dg.AssetExecutionContext,
        extras: Mapping[str, Any] | None = None,
        command: str | Sequence[str],
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
    ) -> dg.PipesClientCompletedInvocation:
        """Run a command in a Pipes session and wait for its end. Raises dagster.Failure for a status other than 0."""
        kills = group_kills()
        with dg.open_pipes_session(context, self.context_injector, self.message_reader, extras=extras) as session:
            environment = {**os.environ, **self.env, **(env or {}), **session.get_bootstrap_env_vars()}
            if is_forked(command):
                status = self._fork(command[2], list(command[3:]), environment)
            else:
                status = _wait_for(subprocess.Popen(command, cwd=cwd, env=environment))
        if status != 0:
            raise dg.Failure(description=_exit_message(_name(command), status, group_kills() > kills))
        return dg.PipesClientCompletedInvocation(session)

    def _fork(self, module: str, arguments: list[str], environment: dict[str, str]) -> int:
        """Run a job as a fork; returns its exit status."""
        os.environ.update(self.env)  # the server inherits it: libraries read the number of threads while they load
        forks = get_context("forkserver")
        forks.set_forkserver_preload(LOADED)
        job = forks.Process(target=_job, args=(module, arguments, environment, _Streams()))
        try:
            job.start()
        except (EOFError, ConnectionError):
            return SERVER_LOST
        try:
            job.join()
        except BaseException:
            end_processes(tree(job.pid))
            raise
        return job.exitcode or 0


class ClusterJobs(JobProcesses):
    """A Pipes client that sends jobs to a Ray cluster, one at a time, and runs any other command as a process.

    url: of the cluster's dashboard. Nothing is asked of it before the first job: the code location always loads.
    """

    def __init__(self, url: str, env: Mapping[str, str] | None = None) -> None:
        super().__init__(env=dict(env or {}))
        self._url = url
        self._job: RayJob | None = None

    def run(  # type: ignore[override]  # as above
        self,
        *,
        context: dg.OpExecutionContext | dg.AssetExecutionContext,
        extras: Mapping[str, Any] | None = None,
        command: str | Sequence[str],
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
    ) -> dg.PipesClientCompletedInvocation:
        """Run a command, a job on the cluster. Raises dagster.Failure where it ended without a report or no cluster
        answers, and UserError for a cluster that cannot be used."""
        if isinstance(command, str) or list(command[1:2]) != ["-m"] or command[2] not in ON_CLUSTER:
            return super().run(context=context, extras=extras, command=command, env=env, cwd=cwd)
        self._job = RayJob(self._url, command, Home.from_environment().root)
        try:
            return self._job.run(context, extras)
        except UserError as error:
            if isinstance(error.__cause__, ConnectionError):
                raise dg.Failure(description=str(error)) from error
            raise
        except (RuntimeError, OSError) as error:
            text = f"{_name(command)} on the cluster: {reason(error)}; finished parts are kept"
            log = f"; its log: `ray job logs {self._job.submitted}`" if self._job.submitted else ""
            raise dg.Failure(description=f"{text}{log}") from error
        finally:
            self._job = None

    def stop(self) -> None:
        """Stop the job that is at work."""
        if self._job is not None:
            self._job.stop()


def job_client(env: Mapping[str, str]) -> JobProcesses:
    """The client that REWARDBASE_RAY asks for. env: of jobs on this machine."""
    ray = settings().ray
    return ClusterJobs(ray, env) if is_elsewhere(ray) else JobProcesses(env=dict(env))


def _wait_for(program: subprocess.Popen[bytes]) -> int:
    """Wait for a program, which ends with this step; returns its exit status."""
    try:
        return program.wait()
    except BaseException:
        end_processes(tree(program.pid))
        raise


def is_forked(command: str | Sequence[str]) -> bool:
    """True for a command that runs a job with this Python on Linux, where forking is safe."""
    return (
        sys.platform == "linux"
        and not isinstance(command, str)
        and list(command[:2]) == [sys.executable, "-m"]
        and command[2] in LOADED
    )


def _name(command: str | Sequence[str]) -> str:
    """Name of a job, or of another program."""
    module = command if isinstance(command, str) else command[2] if list(command[1:2]) == ["-m"] else command[0]
    return f"the job {module.removeprefix(JOBS)}" if module.startswith(JOBS) else Path(module).name


def _exit_message(name: str, status: int, group_killed: bool) -> str:
    """Why a process ended. group_killed: the kernel killed a process of the control group meanwhile."""
    if status in (*KILLED, SERVER_LOST):
        sure = "" if group_killed else " (it was killed from outside, as Linux does then)"
        return out_of_memory(f"{name}{sure}")
    if status < 0:
        return f"{name} was ended by {signal.Signals(-status).name}; finished parts are kept"
    return f"{name} ended with status {status}; its output is in the log of the step"


class _Streams:
    """The present standard output and error of this process, for a process that the server forks: the server has those
    of its start, and Dagster captures each step's output in a separate file."""

    def __getstate__(self) -> dict[str, Any]:
        return {"descriptors": [DupFd(stream) for stream in _STREAMS]}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for stream, descriptor in zip(_STREAMS, state["descriptors"], strict=True):
            handed = descriptor.detach()
            os.dup2(handed, stream)
            os.close(handed)


def _job(module: str, arguments: list[str], environment: dict[str, str], _streams: _Streams) -> None:
    """Run the job in the fork as `python -m` would."""
    # The server's modules live to the end: no search for garbage, a second with torch's, looks through them.
    gc.freeze()
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [module, *arguments]
    importlib.import_module(module).main(arguments)
