"""Steps that run a job: failures, time limit, costs; and forked jobs, which equal a fresh start."""

import errno
import sys
import threading
import time
from pathlib import Path

import dagster as dg
import psutil
import pytest

from dagster_project.lib import failures
from dagster_project.lib.failures import GIVEN_UP
from dagster_project.lib.jobs import LOADED, SERVER_LOST, JobProcesses, is_forked, run_job, with_costs
from models_train.jobs.reporting import may_pass
from models_train.parts import write_part
from models_train.study.study import Study
from warehouse.contracts import REWARD_MODEL_TABLES
from warehouse.paths import Home

pytestmark = pytest.mark.slow

KEY = dg.AssetKey("made")
SCORE = [sys.executable, "-m", "models_train.jobs.score_documents"]
SLEEPS = "import subprocess, sys, time; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
FAILS = """
from models_train.study.study import Study
from models_train.jobs.reporting import reporter
with reporter() as report:
    try:
        raise {error}
    except Exception as error:
        report.fail(f"no luck: {{error}}")
"""


@pytest.fixture(autouse=True)
def retried_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "RETRY_SECONDS", 0.0)


def materialized(code: str) -> tuple[dg.ExecuteInProcessResult, dict[str, str]]:
    """A run of one step that runs Python code as a job; the run's tags."""

    @dg.asset(key=KEY)
    def made(context: dg.AssetExecutionContext, pipes: dg.PipesSubprocessClient) -> dg.MaterializeResult:
        return run_job(context, pipes, [sys.executable, "-c", code]).get_materialize_result()

    with dg.DagsterInstance.ephemeral() as instance:
        done = dg.materialize(
            [made], instance=instance, resources={"pipes": dg.PipesSubprocessClient()}, raise_on_error=False
        )
        run = instance.get_run_by_id(done.run_id)
        assert run is not None
        return done, dict(run.tags)


def words(done: dg.ExecuteInProcessResult) -> str:
    (event,) = (event for event in done.all_events if event.is_step_failure)
    data = event.step_failure_data.user_failure_data
    return data.description if data and data.description else ""


@pytest.mark.parametrize(("error", "retries"), [("ConnectionError('line down')", 2), ("ValueError('bad file')", 0)])
def test_only_what_may_pass_is_tried_again(error: str, retries: int) -> None:
    done, tags = materialized(FAILS.format(error=error))
    assert not done.success and words(done).startswith("no luck: ")
    assert sum(event.is_step_restarted for event in done.all_events) == retries
    assert (GIVEN_UP in tags) == (retries == 0)


def test_a_job_that_takes_too_long_is_ended_with_what_it_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REWARDBASE_JOB_HOURS", "0.0005")
    began = time.monotonic()
    done, tags = materialized(SLEEPS)
    assert not done.success and time.monotonic() - began < 20
    assert "did not end within 0.0005 hours" in words(done) and "REWARDBASE_JOB_HOURS" in words(done)
    assert GIVEN_UP in tags
    left = [
        child for child in psutil.Process().children(recursive=True) if "time.sleep(60)" in " ".join(child.cmdline())
    ]
    assert left == []


def test_costs_stand_in_the_metadata(tmp_path: Path) -> None:
    home = Home(tmp_path)
    model = {"model_id": "small", "hub_id": "./m", "publisher": "us", "family": "f", "params_b": 1.0, "stage": "base"}
    group = {"name": "all", "params_b_from": 0.0, "default": "small"}
    study = Study(study_id="tiny", title="T", synthetic=True, source="here", size_groups=[group], models=[model])
    row = {"model_id": "small", "job": "train_reward_model", "variant": "regression", "n_devices": 2, "is_gpu": True}
    row |= {"device": "H200", "versions": "{}", "n_tokens": 40}
    row |= {"device_seconds": 3.249, "peak_memory_bytes": 3_000_000_000}
    for run_id, changes in (("abc", {}), ("unmeasured", {"peak_memory_bytes": None})):
        write_part(home.parts, REWARD_MODEL_TABLES["run_costs"], [row | changes], study_id="tiny", run_id=run_id)
    reported = dg.MaterializeResult(metadata={"steps": 3})
    costs = {"device seconds": 3.2, "tokens": 40, "device": "2 x H200"}
    found = [with_costs(reported, home, study, name).metadata for name in ("abc", "unmeasured", "other")]
    assert found == [{"steps": 3} | costs | {"peak memory, GB": 3.0}, {"steps": 3} | costs, {"steps": 3}]


class HubError(Exception):
    """As the hub's client raises it, with the answer."""

    def __init__(self, status: int) -> None:
        self.response = type("Response", (), {"status_code": status})()


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (HubError(503), True),
        (HubError(429), True),
        (HubError(404), False),
        (TimeoutError(), True),
        (KeyError(), False),
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EACCES, "Permission denied"), False),
    ],
)
def test_what_may_pass(error: Exception, passes: bool) -> None:
    told = RuntimeError("told for people")
    told.__cause__ = error
    assert may_pass(told) == passes


def test_an_offline_client_stays_offline() -> None:
    offline = type("OfflineModeIsEnabled", (ConnectionError,), {})()
    assert not may_pass(offline) and not may_pass(None)


def outcome(command: list[str]) -> dg.ExecuteInProcessResult:
    """A Dagster run of one asset that runs `command`."""

    @dg.asset
    def scores(context: dg.AssetExecutionContext, pipes: dg.PipesSubprocessClient) -> dg.MaterializeResult:
        return run_job(context, pipes, command).get_materialize_result()

    with dg.instance_for_test() as instance:
        resources = {"pipes": JobProcesses(env={"OMP_NUM_THREADS": "1"})}
        return dg.materialize([scores], instance=instance, resources=resources, raise_on_error=False)


def test_only_jobs_of_this_python_are_forked() -> None:
    assert is_forked([*SCORE, "--help"])
    assert all(is_forked([sys.executable, "-m", module]) for module in LOADED)
    assert not is_forked([sys.executable, "-m", "models_train.jobs.fit_performance_model"])
    assert not is_forked(["python", "-m", SCORE[2]])
    assert not is_forked(" ".join(SCORE))


def test_what_a_forked_job_prints_goes_where_its_step_prints(capfd: pytest.CaptureFixture[str]) -> None:
    """Also the second one's, whose server began while the first one's output was captured."""
    assert outcome([*SCORE, "--help"]).success
    first = capfd.readouterr().out
    assert outcome([*SCORE, "--help"]).success
    second = capfd.readouterr().out
    assert "--study" in first and "--study" in second


def test_why_a_forked_job_stopped_is_the_message_of_its_step(tmp_path: Path) -> None:
    missing = tmp_path / "no.yaml"
    done = outcome([*SCORE, "--study", str(missing), "--model", "m", "--home", str(tmp_path)])
    failure = done.failure_data_for_node("scores")
    assert not done.success and failure is not None and failure.user_failure_data is not None
    assert "no.yaml" in (failure.user_failure_data.description or "")


@pytest.mark.parametrize(
    "command",
    [
        [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"],
        ["sh", "-c", "kill -9 $$"],
        ["sh", "-c", "exit 137"],
    ],
)
def test_a_killed_program_is_a_want_of_memory_with_its_remedy(command: list[str]) -> None:
    failure = outcome(command).failure_data_for_node("scores")
    assert failure is not None and failure.user_failure_data is not None
    text = failure.user_failure_data.description or ""
    for words in ("memory ran out", "GiB", "REWARDBASE_WORKERS=1 (now 2 tasks run at a time)", "finished parts"):
        assert words in text


def test_a_killed_server_of_jobs_is_a_want_of_memory_too(tmp_path: Path) -> None:
    """The kernel may take the server instead of a job: the job ends with status 255 then."""

    def kill() -> None:
        servers: list[psutil.Process] = []
        while not servers:
            time.sleep(0.05)
            servers = [one for one in psutil.Process().children() if "forkserver" in " ".join(one.cmdline())]
        for server in servers:
            server.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    resource = JobProcesses(env={"OMP_NUM_THREADS": "1"})
    status = resource._fork(SCORE[2], ["--study", str(tmp_path / "no.yaml"), "--model", "m", "--home", "."], {})
    killer.join()
    assert status == SERVER_LOST


def test_a_forked_job_that_crashes_fails_its_step() -> None:
    done = outcome([*SCORE, "--no-such-option"])
    failure = done.failure_data_for_node("scores")
    assert not done.success and failure is not None and failure.user_failure_data is not None
    assert "score_documents ended with status 2" in (failure.user_failure_data.description or "")
