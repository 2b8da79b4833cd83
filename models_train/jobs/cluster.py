"""Shards and trainings on the machines of a Ray cluster. Nothing else in `models_train` imports Ray.

REWARDBASE_RAY=auto gives the shards of a job to the cluster that this machine belongs to; where it is not set, the job
does them itself. Ray Data's actor pool hands them out, replaces workers and machines that are lost, and takes machines
that join. A row of its data is the number of a shard: what a worker makes of it is a part, which it writes itself, and
what it returns are facts. So nothing of value is on the cluster: whatever ends it, the next job asks for what is left.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from models_train.errors import UserError, causes, first_line
from models_train.files import disk_problem
from models_train.jobs.reporting import Notes, Reporter, may_pass
from models_train.machine import AUTO, RAY, RAY_MODE, RAY_TOKEN, is_out_of_memory
from models_train.processes import STOP_SIGNALS

_ADDRESS = "RAY_ADDRESS"
"""Ray's own variable with the address of a cluster's head."""
_CURRENT = "ray/ray_current_cluster"
"""File with the address of the cluster that this machine belongs to, below RAY_TMPDIR or /tmp."""
_OWN_SETTINGS = {"RAY_BACKEND_LOG_LEVEL": "fatal", "RAY_NUM_REDIS_GET_RETRIES": "4"}
"""Variables of Ray for this process: what matters raises an error, too, and seconds are enough to refuse a token."""
_SECONDS_TO_ANSWER = 5.0
"""Longest wait for the head of a cluster, in seconds; Ray itself asks for two minutes."""
MOST_STRIKES = 2
"""Workers that may die with a shard on machines that are still there. Then it is given up: it would kill the next."""
MOST_STARTS = 5
"""Times that a worker may die before its first shard. Ray starts it again without end, here as at a shard."""
_SECONDS_BETWEEN_LINES = 1.0
"""Time between two looks at what the workers of a training said, in seconds."""
_IN_FLIGHT = 2
"""Shards that a worker is given at once. With one, Ray Data never adds a worker to the first."""
_BROKEN = ("EngineDeadError", "OutOfMemoryError", "AcceleratorError")
"""Errors, by class, after which a process can do nothing more on its device."""
_STATUS = 70
"""Exit status of a worker that ends itself: internal error, of sysexits.h."""

Facts = dict[str, Any]


class Worker(Protocol):
    """A process that is ready to work on shards."""

    def do(self, shard: int) -> Facts:
        """Write the part of a shard, unless it is there; returns facts that JSON can hold."""

    def give_up(self, shard: int, reason: str) -> Facts:
        """Write the part of a shard that killed its workers: rows with a status."""


class Work(Protocol):
    """What a worker needs to begin; it is sent to other machines."""

    def begin(self, agree: Callable[[str, str], str], say: Callable[[str], None]) -> Worker:
        """Make a worker on the machine that works.

        agree: takes the name of a choice and this worker's; returns that of the first worker. say: takes a line for the
        person who runs the job. Raises UserError where this machine cannot do the work as the others do.
        """


def on_cluster() -> bool:
    """True where RAY gives the shards to a cluster. Raises UserError for a value that it cannot have."""
    given = os.environ.get(RAY, "").strip()
    if given in ("", AUTO):
        return given == AUTO
    if re.match(r"https?://", given):
        raise UserError(
            f"{RAY} is the address of a cluster, which `make run` submits jobs to; for a job that is started on a "
            f"machine of the cluster set {RAY}={AUTO}"
        )
    raise UserError(
        f"{RAY}={given} is neither {AUTO} nor an http address; set {AUTO} on a machine of a Ray cluster, or unset it"
    )


def run_shards(shards: Sequence[int], work: Work, most_workers: int | None = None) -> Iterator[Facts]:
    """Work on shards on the cluster; the facts of each, as they are done.

    most_workers: on all machines together; None for as many as there is room for. Raises UserError where there is no
    cluster, where the work cannot be done, and where the cluster is lost.
    """
    with connected() as ray:
        resources = ray.cluster_resources()
        has_gpus = bool(resources.get("GPU"))
        if not has_gpus and not resources.get("CPU"):
            raise UserError("the cluster has neither a GPU nor a core for workers; start Ray on more machines")
        ledger = ray.remote(_Ledger).options(num_cpus=0, scheduling_strategy=_here(ray)).remote()
        rows = ray.data.from_items([{"shard": shard} for shard in shards], override_num_blocks=len(shards)).map(
            _Actor,
            fn_constructor_args=(work, ledger),
            compute=ray.data.ActorPoolStrategy(
                min_size=1,
                max_size=min(most_workers or len(shards), len(shards)),
                max_tasks_in_flight_per_actor=_IN_FLIGHT,
            ),
            num_gpus=1 if has_gpus else None,
            num_cpus=None if has_gpus else 1,
        )
        try:
            for row in rows.iter_rows():
                facts: Facts = json.loads(row["facts"])
                if "problem" in facts:
                    raise UserError(facts["problem"]) from (ConnectionError() if facts["may_pass"] else None)
                yield facts
        except ray.exceptions.RayTaskError:
            raise  # a defect of a worker, with its traceback
        except ray.exceptions.RayError as error:
            text = f"the cluster was lost: {first_line(error)}; finished parts are kept"
            raise UserError(f"{text}; the same command goes on with what is left") from ConnectionError(text)


def _here(ray: Any) -> Any:
    """Placement on this machine, whose loss ends the job in any case."""
    strategies = ray.util.scheduling_strategies
    return strategies.NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)


def run_together(
    work: Callable[[Reporter], Mapping[str, Any]], most: int, shared: Path, say: Callable[[str], None]
) -> Mapping[str, Any]:
    """Train in up to `most` processes of the cluster, a device each, which share a model; returns figures.

    Where a machine is lost, those that are left begin again together, from the saved state; where one is found, so do
    all. They are put on as few machines as hold them. shared: a folder that all machines have. Raises UserError.
    """
    shared.mkdir(parents=True, exist_ok=True)
    with connected() as ray:
        import ray.train.torch  # with torch, which shards need not wait for

        resources = ray.cluster_resources()
        n = min(most, int(resources.get("GPU") or resources.get("CPU") or 0))
        if not n:
            raise UserError("the cluster has neither a GPU nor a core for workers; start Ray on more machines")
        ledger = ray.remote(_Ledger).options(num_cpus=0, scheduling_strategy=_here(ray)).remote()
        with TemporaryDirectory(prefix=".ray-", dir=shared) as folder, _said(ray, ledger, say):
            trainer = ray.train.torch.TorchTrainer(
                _member,
                train_loop_config={"work": work, "ledger": ledger},
                torch_config=ray.train.torch.TorchConfig(
                    backend="cpu:gloo,cuda:nccl" if resources.get("GPU") else "gloo"
                ),
                scaling_config=ray.train.ScalingConfig(
                    num_workers=(1, n) if n > 1 else 1, use_gpu=bool(resources.get("GPU")), placement_strategy="PACK"
                ),
                run_config=ray.train.RunConfig(
                    storage_path=folder, failure_config=ray.train.FailureConfig(max_failures=MOST_STARTS)
                ),
            )
            try:
                trainer.fit()
            except ray.train.TrainingFailedError as error:
                text = f"the training ended {MOST_STARTS + 1} times on the cluster: {first_line(error)}"
                raise UserError(f"{text}; the same command goes on from the saved state") from error
        facts: Facts | None = ray.get(ledger.result.remote())
    if facts is None:
        raise UserError("the training on the cluster returned nothing; see Ray's logs, and start it again")
    if "problem" in facts:
        raise UserError(facts["problem"]) from (ConnectionError() if facts["may_pass"] else None)
    return facts


@contextmanager
def _said(ray: Any, ledger: Any, say: Callable[[str], None]) -> Iterator[None]:
    """Report what the workers say, while the block waits for them."""
    ended = threading.Event()

    def report() -> None:
        while not ended.wait(_SECONDS_BETWEEN_LINES):
            for text in ray.get(ledger.said.remote()):
                say(text)

    thread = threading.Thread(target=report, name="lines of workers", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        for text in ray.get(ledger.said.remote()):
            say(text)


def _member(config: Mapping[str, Any]) -> None:
    """One of the processes that train together. An error with its words ends all of them, and is not tried again."""
    import ray.train

    ledger = config["ledger"]
    if ray.get(ledger.result.remote()) is not None:
        return
    del os.environ[RAY]  # here is the cluster
    is_first = ray.train.get_context().get_world_rank() == 0
    try:
        figures = config["work"](Notes(ledger.say.remote if is_first else lambda text: None))
    except (UserError, OSError) as error:
        text = (disk_problem(error, Path.cwd()) or str(error)) if isinstance(error, OSError) else str(error)
        ray.get(ledger.finish.remote(_problem(text, error)))
        raise RuntimeError("the others wait for this one") from error
    if is_first:
        ray.get(ledger.finish.remote(dict(figures)))


@contextmanager
def connected() -> Iterator[Any]:
    """Ray, connected to the cluster of this machine; the cluster ends what the block has started with it.

    Raises UserError within ten seconds where Ray is not installed, no cluster is there, or it refuses the token.
    """
    os.environ |= _OWN_SETTINGS
    if os.environ.setdefault(RAY_MODE, "token").strip().lower() != "token":
        raise UserError(
            f"{RAY_MODE}={os.environ[RAY_MODE]} lets everybody who reaches the cluster run programs on it; set "
            f"{RAY_MODE}=token here and where Ray is started, and {RAY_TOKEN}"
        )
    try:
        import ray
        import ray.data
        import ray.util.scheduling_strategies
    except ImportError as error:
        raise UserError(f"{RAY}={AUTO} needs Ray ({error}); install it: pip install -e '.[train,cluster]'") from error
    answers = _must_answer()
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    try:
        ray.init(address=AUTO, log_to_driver=False, logging_level=logging.WARNING)
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        if not isinstance(error, ray.exceptions.AuthenticationError) and not answers:
            raise _no_cluster() from error
        raise UserError(
            f"the Ray cluster does not take this token, or there is none; set {RAY_TOKEN} to the one that it was "
            "started with (or put it into ~/.ray/auth_token)"
        ) from error
    finally:
        _restore(handlers)
    ray.data.DataContext.get_current().enable_progress_bars = False
    try:
        yield ray
    finally:
        ray.shutdown()


def _restore(handlers: Mapping[signal.Signals, Any]) -> None:
    """Put the handlers of signals back that Ray replaces: a job ends by its own."""
    for number, handler in handlers.items():
        if signal.getsignal(number) is not handler:
            signal.signal(number, handler)


def _no_cluster(where: str = "on this machine") -> UserError:
    return UserError(
        f"{RAY}={AUTO}, and no Ray cluster answers {where}; start one (`ray start --head`; inside of an allocation "
        f"`ray symmetric-run`, see dagster_project/deploy), or unset {RAY}"
    )


def _must_answer() -> bool:
    """Whether something takes a connection at the address of the head; False where none is known, and Ray has to look
    for it. Raises UserError where nothing does."""
    address, where = os.environ.get(_ADDRESS, "").strip(), f"at {_ADDRESS}="
    if address in ("", AUTO):
        current = Path(os.environ.get("RAY_TMPDIR", "/tmp"), _CURRENT)
        address, where = current.read_text("utf-8").strip() if current.is_file() else "", "at "
    if not address:
        return False
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), _SECONDS_TO_ANSWER).close()
    except (OSError, ValueError, OverflowError) as error:
        raise _no_cluster(f"{where}{address}") from error
    return True


class _Ledger:
    """What the workers of one job agree on, and which shards they have begun. It lives as long as the job."""

    def __init__(self) -> None:
        self._agreed: dict[str, str] = {}
        self._begun: dict[str, list[str]] = {}
        self._said: list[str] = []
        self._result: Facts | None = None

    def agree(self, name: str, value: str) -> str:
        return self._agreed.setdefault(name, value)

    def begin(self, what: str, node: str) -> int:
        """Strikes of a piece of work: workers that began and did not end it, on machines that are still there."""
        import ray

        alive = {one["NodeID"] for one in ray.nodes() if one["Alive"]}
        before = self._begun.setdefault(what, [])
        strikes = sum(one in alive for one in before)
        before.append(node)
        return strikes

    def end(self, what: str) -> None:
        self._begun.pop(what, None)

    def say(self, text: str) -> None:
        self._said.append(text)

    def said(self) -> list[str]:
        """Lines since the last call."""
        said, self._said = self._said, []
        return said

    def finish(self, facts: Facts) -> None:
        self._result = self._result or facts

    def result(self) -> Facts | None:
        return self._result


class _Actor:
    """A process of Ray's pool. It begins with its first shard, so that an error then is a row, with its words."""

    def __init__(self, work: Work, ledger: Any) -> None:
        self._work, self._ledger = work, ledger
        self._worker: Worker | None = None
        self._said: list[str] = []

    def __call__(self, row: Mapping[str, Any]) -> dict[str, str]:
        try:
            facts = self._facts(int(row["shard"]))
        except UserError as error:
            facts = _problem(str(error), error)
        except OSError as error:
            facts = _problem(disk_problem(error, Path.cwd()) or str(error), error)
        except Exception as error:
            if is_broken(error):
                # The strike stays. In a process that lives on, every further shard would fail like this one.
                os._exit(_STATUS)
            raise
        return {"facts": json.dumps(facts)}

    def _facts(self, shard: int) -> Facts:
        if self._worker is None:
            self._worker = self._started()
        strikes = self._asked("begin", f"shard {shard}", _node())
        if strikes < MOST_STRIKES:
            facts = self._worker.do(shard)
        else:
            facts = self._worker.give_up(shard, f"{strikes} workers died with its shard")
        self._asked("end", f"shard {shard}")
        said, self._said = [*self._said, *facts.get("said", ())], []
        return facts | {"host": platform.node(), "said": said}

    def _started(self) -> Worker:
        import ray

        start = f"start of {ray.get_runtime_context().get_actor_id()}"  # the same after a restart
        if self._asked("begin", start, _node()) >= MOST_STARTS:
            raise UserError(
                f"a worker died {MOST_STARTS} times before its first shard, as it does where the model does not fit in "
                "memory; see the logs in Ray's folder of its machine, /tmp/ray by default"
            )
        worker = self._work.begin(lambda name, value: str(self._asked("agree", name, value)), self._said.append)
        self._asked("end", start)
        return worker

    def _asked(self, method: str, *arguments: str) -> Any:
        """The ledger's answer. While the machine of the job is out of reach, this waits; then Ray ends the worker."""
        import ray

        return ray.get(getattr(self._ledger, method).remote(*arguments))


def _node() -> str:
    import ray

    return str(ray.get_runtime_context().get_node_id())


def _problem(text: str, error: BaseException) -> Facts:
    return {"problem": f"{text} (on {platform.node()})", "may_pass": may_pass(error)}


def is_broken(error: BaseException) -> bool:
    """True for an error after which this process can do nothing more: a dead engine, memory that ran out, CUDA."""
    return any(
        type(one).__name__ in _BROKEN or is_out_of_memory(one) or "CUDA error" in str(one) for one in causes(error)
    )


@dataclass(frozen=True)
class Split:
    """The share of a job array's task: every shard whose number leaves `index` when divided by `n`."""

    index: int
    n: int

    @classmethod
    def parse(cls, text: str) -> Split:
        """The split `i/n`, i from 0 to n - 1. Raises UserError for anything else."""
        found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text.strip())
        if not found or not int(found[1]) < int(found[2]):
            raise UserError(f"--split {text}: not a share of the shards; give i/n with i from 0 to n-1, such as 0/8")
        return cls(int(found[1]), int(found[2]))
