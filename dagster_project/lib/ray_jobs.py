"""Jobs on a Ray cluster elsewhere, by REWARDBASE_RAY=http...: submitted, adopted, stopped. Nothing else in
`dagster_project` imports Ray, and this module does so when a job begins.

A job is named by what it makes. One of the same name that is at work, as after a `kill -9` of the run that started it,
is adopted: its messages are read from the first on. So no work is at a cluster twice.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPException
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from models_train import telemetry
from models_train.errors import UserError, first_line
from models_train.machine import AUTO, RAY, RAY_MODE, RAY_TOKEN
from models_train.store import PARTS
from warehouse.paths import REPOSITORY
from warehouse.paths import VARIABLE as HOME

if TYPE_CHECKING:
    import dagster as dg

SECONDS_TO_ANSWER = 4.0
"""Longest wait for each of two answers of the cluster, in seconds."""
NOT_SENT = ("/.git/", "/.venv/", "/var/", "/tests/", "/.github/")
"""What of the repository the cluster has no use for."""
SENT = (PARTS,)
"""Settings that jobs on the cluster have in common with this machine. Secrets are never sent: Ray shows a job's
environment; the cluster has its own."""
_DENIED = (401, 403)


def address(text: str) -> str:
    """The setting: AUTO, or the http address of a cluster's dashboard. Raises UserError, without quoting it."""
    if text == AUTO:
        return text
    try:
        parts = urlsplit(text)
        is_right = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_right = False
    if not is_right or parts.query or parts.fragment or parts.path.strip("/") or any(map(str.isspace, text)):
        raise UserError(
            f"{RAY} is neither {AUTO} nor the address of a Ray dashboard, such as http://10.0.0.5:8265; correct "
            "it, or unset it: jobs then run on this machine"
        )
    if "@" in parts.netloc:
        raise UserError(
            f"{RAY} has a user or a password in it; take them out, and set {RAY_TOKEN} to the cluster's token"
        )
    return text.rstrip("/")


def is_elsewhere(setting: str) -> bool:
    """True where jobs are sent to a cluster."""
    return setting not in ("", AUTO)


def check(url: str) -> Any:
    """The client of a cluster that can be used; url: of `address`. Raises UserError within ten seconds where it cannot:
    no cluster, a wrong token, or none asked for, which would let everybody run programs on it."""
    if find_spec("ray") is None or find_spec("dagster_ray") is None:
        raise UserError(f"{RAY} needs Ray and dagster-ray; install them: pip install -e '.[train,cluster]'")
    if os.environ.setdefault(RAY_MODE, "token").strip().lower() != "token":
        given = os.environ[RAY_MODE]
        raise UserError(f"{RAY_MODE}={given} sends no token to the cluster; unset it, or set it to token")
    status = _status(url)
    if status is None:
        raise _no_answer(url) from ConnectionError()
    if status == 200:
        raise UserError(
            f"{RAY}: the Ray cluster at {url} asks for no token, so that everybody who reaches it runs programs "
            f"on it; start it with {RAY_MODE}=token and {RAY_TOKEN}"
        )
    if status not in _DENIED:
        raise UserError(f"{RAY}: what answers at {url} is no Ray dashboard (HTTP status {status}); correct it")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", telemetry.OFF["RAY_USAGE_STATS_ENABLED"])
    import ray.exceptions
    from ray.job_submission import JobSubmissionClient

    try:
        client = JobSubmissionClient(url)
        client.list_jobs()
    except ray.exceptions.AuthenticationError:
        raise UserError(
            f"{RAY}: the Ray cluster at {url} does not take this token, or there is none; set {RAY_TOKEN} to the one "
            "that it was started with (or put it into ~/.ray/auth_token)"
        ) from None
    except ConnectionError as error:
        raise _no_answer(url) from error
    except (RuntimeError, OSError) as error:
        text = f"{RAY}: the Ray cluster at {url} cannot be used: {first_line(error)}"
        raise UserError(f"{text}; see that its version of Ray is this one's ({ray.__version__})") from None
    return client


def _no_answer(url: str) -> UserError:
    return UserError(
        f"{RAY}: no Ray cluster answers at {url}; start it, correct the address (the port is the dashboard's, "
        "8265 by default), or unset it"
    )


def _status(url: str) -> int | None:
    """HTTP status of the jobs of a cluster for somebody without a token; None where nothing answers."""
    try:
        with urlopen(Request(f"{url}/api/jobs/"), timeout=SECONDS_TO_ANSWER) as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code
    except (OSError, HTTPException, ValueError):
        return None


class RayJob:
    """A job of `models_train.jobs` on a cluster. command: as `job_command` gives it."""

    def __init__(self, url: str, command: Sequence[str], home: Path) -> None:
        self._url, self._module, self._home = url, command[2], home
        self._arguments = list(command[3:])
        self._client: _Adopting | None = None
        self.name = self._name()

    def _name(self) -> str:
        """`rb-<job>-<hash of what it makes>`: of the job, its arguments without the home, and the study file."""
        arguments = [one for one in self._arguments if one != str(self._home)]
        files = [Path(one) for one in arguments if one.endswith((".yaml", ".yml"))]
        contents = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.is_file()]
        made = json.dumps([self._module, [self._placed(one) for one in arguments], contents, self._sent()])
        return f"rb-{self._module.rpartition('.')[2]}-{hashlib.sha256(made.encode()).hexdigest()[:16]}"

    def _placed(self, argument: str) -> str:
        """An argument as the cluster reads it: what is of the repository lies in the job's own folder there."""
        path = Path(argument)
        is_ours = path.is_absolute() and path.is_relative_to(REPOSITORY) and not path.is_relative_to(self._home)
        return str(path.relative_to(REPOSITORY)) if is_ours else argument

    def _sent(self) -> dict[str, str]:
        return {name: os.environ[name] for name in SENT if os.environ.get(name, "").strip()}

    def entrypoint(self) -> str:
        """The command for the cluster's shell. A home that the cluster has of its own comes before this machine's."""
        home = shlex.quote(str(self._home))
        words = [f'"${HOME}"' if one == str(self._home) else shlex.quote(self._placed(one)) for one in self._arguments]
        return f"export {HOME}=${{{HOME}:-{home}}}; exec python -m {self._module} {' '.join(words)}"

    def parameters(self) -> dict[str, Any]:
        """What the cluster is given: the command, the code of this checkout, settings without secrets."""
        here = [f"/{self._home.relative_to(REPOSITORY)}/"] if self._home.is_relative_to(REPOSITORY) else []
        settings = {**telemetry.OFF, RAY: AUTO, **self._sent()}
        code = {"working_dir": str(REPOSITORY), "excludes": [*NOT_SENT, *here], "env_vars": settings}
        return {"entrypoint": self.entrypoint(), "runtime_env": code, "submission_id": self.name}

    def run(
        self, context: dg.OpExecutionContext | dg.AssetExecutionContext, extras: Mapping[str, Any] | None
    ) -> dg.PipesClientCompletedInvocation:
        """Submit or adopt the job, and wait for its end. Raises UserError where there is no cluster, RuntimeError where
        the job ended without a report, and what Dagster raises for a step that is interrupted: the job is stopped."""
        from dagster_ray import PipesRayJobClient

        client = check(self._url)
        # Client and reader serve one job only: a second one's messages would be lost.
        pipes = PipesRayJobClient(address=self._url)
        self._client = _Adopting(client, context.log.info)
        pipes.client = self._client  # type: ignore[assignment]  # a cached property
        parameters: Any = self.parameters()
        return pipes.run(context=context, submit_job_params=parameters, extras=dict(extras or {}))

    def stop(self) -> None:
        """Stop the job, where it has begun."""
        if self._client is not None and self._client.submitted is not None:
            self._client.stop_job(self._client.submitted)

    @property
    def submitted(self) -> str | None:
        """Name of the attempt on the cluster; None before it is there."""
        return self._client.submitted if self._client is not None else None


class _Adopting:
    """A client whose `submit_job` takes a job of the same name that is at work for the one that it should begin.

    Attempts are numbered: Ray goes on with the log of an earlier job of a name, whose messages would be read again.
    submitted: name of the job that was begun or adopted.
    """

    def __init__(self, client: Any, say: Callable[[str], None]) -> None:
        self._client, self._say = client, say
        self.submitted: str | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def submit_job(self, **parameters: Any) -> str:
        wanted = str(parameters.pop("submission_id"))
        try:
            self.submitted = self._at_work(wanted) or str(
                self._client.submit_job(submission_id=f"{wanted}-{self._attempts(wanted) + 1}", **parameters)
            )
        except RuntimeError:
            self.submitted = self._at_work(wanted)  # another process was first
            if self.submitted is None:
                raise
        return self.submitted

    def _jobs(self, wanted: str) -> dict[str, Any]:
        """Status of every attempt that the cluster knows."""
        jobs = {str(job.submission_id): job.status for job in self._client.list_jobs()}
        return {name: jobs[name] for name in jobs if name.rpartition("-")[0] == wanted}

    def _attempts(self, wanted: str) -> int:
        return max((int(name.rpartition("-")[2]) for name in self._jobs(wanted)), default=0)

    def _at_work(self, wanted: str) -> str | None:
        name = next((name for name, status in self._jobs(wanted).items() if not status.is_terminal()), None)
        if name is not None:
            self._say(f"The job {name} is at work on the cluster already: it is adopted, not started again.")
        return name


def reason(error: BaseException) -> str:
    """Why a job on the cluster ended, from Ray's error: its first sentence about the process."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    told = next((line for line in lines[1:]), lines[0] if lines else type(error).__name__)
    return told.partition(", last available logs")[0].rstrip(".: ")
