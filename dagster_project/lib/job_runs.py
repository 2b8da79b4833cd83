"""Steps that run a job of `models_train.jobs` as a process of its own: command, time limit, failure, costs."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pyarrow.parquet as pq

from dagster_project.lib.failures import give_up
from dagster_project.lib.partitions import models_at_work
from models_train.study.study import Study
from warehouse.paths import Home

FAILURE, MAY_PASS, ASSET_KEY = "failure", "may_pass", "asset_key"
"""What jobs and assets call the message of a failure, whether it may pass by itself, and the extra that says what a job
makes."""
HOURS_VARIABLE = "REWARDBASE_JOB_HOURS"
DEFAULT_HOURS = 48.0
_GRACE_SECONDS = 30.0


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
    """Run a job and hand on what it reports; `key`: which asset it makes, where the step makes several.

    Raises dagster.Failure with the job's own words where it stopped, or where it took longer than it may.
    """
    extras = {ASSET_KEY: key.to_escaped_user_string()} if key is not None else {}
    hours = longest_hours()
    with _ended_after(hours * 3600) as too_long:
        try:
            done = pipes.run(command=command, context=context, extras=extras)
        except dg.DagsterExecutionInterruptedError:
            raise
        except Exception:
            if not too_long.is_set():
                raise
    if too_long.is_set():
        text = f"{command[2]} did not end within {hours:g} hours and was ended; {HOURS_VARIABLE} allows more"
        raise give_up(context, text)
    for message in done.get_custom_messages():
        if message.get(MAY_PASS):
            raise dg.Failure(description=message[FAILURE])
        raise give_up(context, message[FAILURE])
    return done


def longest_hours() -> float:
    """How many hours a job may take: REWARDBASE_JOB_HOURS, or 48."""
    try:
        hours = float(os.environ.get(HOURS_VARIABLE, ""))
    except ValueError:
        return DEFAULT_HOURS
    return hours if hours > 0 else DEFAULT_HOURS


@contextmanager
def _ended_after(seconds: float) -> Iterator[threading.Event]:
    """End the processes that are started inside when their time is up; the event says whether that happened.

    A process is first asked (SIGTERM), so that a job can leave what it has in good order.
    """
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    too_long = threading.Event()

    def end() -> None:
        too_long.set()
        started = [child for child in psutil.Process().children(recursive=True) if child.pid not in before]
        for child in started:
            with suppress(psutil.NoSuchProcess):
                child.terminate()
        for child in psutil.wait_procs(started, _GRACE_SECONDS)[1]:
            with suppress(psutil.NoSuchProcess):
                child.kill()

    timer = threading.Timer(min(seconds, threading.TIMEOUT_MAX), end)
    timer.daemon = True
    timer.start()
    try:
        yield too_long
    finally:
        timer.cancel()


def with_costs(result: dg.MaterializeResult, home: Home, study: Study, run_id: str) -> dg.MaterializeResult:
    """What a job reported, with what its work cost, as its part of run_costs says (nothing where there is none)."""
    part = home.parts / "run_costs" / study.study_id / f"{run_id}.parquet"
    if not part.is_file():
        return result
    rows = pq.read_table(part, partitioning=None).to_pylist()
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
    """For a partition that a study does not ask for: a backfill of all partitions comes to such, and must not fail."""
    return dg.MaterializeResult(metadata={"nothing to do": text})


def run_for_studies(
    context: dg.AssetExecutionContext,
    pipes: dg.PipesSubprocessClient,
    home: Home,
    key: dg.AssetKey,
    job: str,
    paths: Sequence[Path],
) -> dg.MaterializeResult:
    """Run a job for every study file; what it made is the asset `key`, with the rows that the job reported."""
    done = (run_job(context, pipes, job_command(job, path, home), key) for path in paths)
    rows = sum(_row_count(one.get_materialize_result(implicit_materialization=False)) for one in done)
    return dg.MaterializeResult(asset_key=key, metadata={"dagster/row_count": rows, "studies": len(paths)})


def _row_count(result: dg.MaterializeResult) -> int:
    """Rows that a job reported, as Dagster hands the value back or as the job gave it."""
    value: Any = (result.metadata or {}).get("rows", 0)
    return int(getattr(value, "value", value))


def model_of(studies: Mapping[Path, Study], key: str) -> tuple[Path, Study, str]:
    """Study file, study and model of a partition key. Raises dagster.Failure for one that no study file has."""
    for path, study in studies.items():
        model = models_at_work(study).get(key)
        if model is not None:
            return path, study, model
    text = f"{key}: no study file names this model any more; materialize parts/studies, and the partition goes"
    raise dg.Failure(description=text, allow_retries=False)
