"""Jobs as forks of a process that has the heavy libraries loaded: a start of Python with torch costs seconds of CPU.

One such server belongs to each process that runs jobs, begins with its first job and ends with it. It only loads
modules, starts no thread and opens no device, so that a fork of it is as good as a fresh start.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from multiprocessing import get_context
from multiprocessing.reduction import DupFd
from typing import Any

import dagster as dg

JOBS = "models_train.jobs."
LOADED = [JOBS + name for name in ("train_reward_model", "score_completions", "score_documents", "run_benchmarks")]
_STREAMS = (1, 2)


class JobProcesses(dg.PipesSubprocessClient):
    """A Pipes client that runs `python -m models_train.jobs.X` as a fork, and any other command as it is."""

    def run(  # type: ignore[override]  # as in its own superclass
        self,
        *,
        context: dg.OpExecutionContext | dg.AssetExecutionContext,
        extras: Mapping[str, Any] | None = None,
        command: str | Sequence[str],
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
    ) -> dg.PipesClientCompletedInvocation:
        """Run a command in a Pipes session and wait for its end.

        Raises dagster.Failure where a job ends with a status other than 0, Dagster's own error for another command.
        """
        if not is_forked(command):
            return super().run(context=context, extras=extras, command=command, env=env, cwd=cwd)
        with dg.open_pipes_session(context, self.context_injector, self.message_reader, extras=extras) as session:
            environment = {**os.environ, **self.env, **(env or {}), **session.get_bootstrap_env_vars()}
            self._fork(context, command[2], list(command[3:]), environment)
        return dg.PipesClientCompletedInvocation(session)

    def _fork(
        self,
        context: dg.OpExecutionContext | dg.AssetExecutionContext,
        module: str,
        arguments: list[str],
        environment: dict[str, str],
    ) -> None:
        os.environ.update(self.env)  # the server inherits it: libraries read the number of threads while they load
        forks = get_context("forkserver")
        forks.set_forkserver_preload(LOADED)
        job = forks.Process(target=_job, args=(module, arguments, environment, _Streams()))
        job.start()
        try:
            job.join()
        except dg.DagsterExecutionInterruptedError:
            context.log.info(f"{module}: interrupted, ending it")
            os.kill(job.pid or 0, signal.SIGINT)
            job.join(self.termination_timeout_seconds)
            raise
        if job.exitcode != 0:
            raise dg.Failure(description=_how_it_ended(module, job.exitcode or 0))


def is_forked(command: str | Sequence[str]) -> bool:
    """True for a command that runs a job with this Python, where processes can be forked without harm."""
    return (
        sys.platform == "linux"
        and not isinstance(command, str)
        and list(command[:2]) == [sys.executable, "-m"]
        and command[2] in LOADED
    )


def _how_it_ended(module: str, status: int) -> str:
    name = module.removeprefix(JOBS)
    if status < 0:
        return f"the job {name} was killed by signal {-status}, perhaps for want of memory; what it finished is kept"
    return f"the job {name} ended with status {status}; what it printed stands in the log of the step"


class _Streams:
    """Standard output and error of this process as it is now, for a process that a server forks: the server has those
    of the time when it began, and Dagster gives each step a file of its own."""

    def __getstate__(self) -> dict[str, Any]:
        return {"descriptors": [DupFd(stream) for stream in _STREAMS]}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for stream, descriptor in zip(_STREAMS, state["descriptors"], strict=True):
            handed = descriptor.detach()
            os.dup2(handed, stream)
            os.close(handed)


def _job(module: str, arguments: list[str], environment: dict[str, str], _streams: _Streams) -> None:
    """In the fork: the job as `python -m` runs it."""
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [module, *arguments]
    importlib.import_module(module).main(arguments)
