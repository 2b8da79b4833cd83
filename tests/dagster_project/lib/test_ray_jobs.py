"""Jobs sent to a Ray cluster: a real head on 127.0.0.1; steps, retries, ends of all kinds, tokens, no cluster."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import dagster as dg
import pytest

from dagster_project.environment import Settings
from dagster_project.lib import failures, jobs
from dagster_project.lib.failures import GIVEN_UP
from dagster_project.lib.ray_jobs import RayJob, check, reason
from models_train.errors import UserError
from tests.support.cluster_job import MODULE
from tests.support.http_server import served
from tests.support.programs import REPOSITORY, SECRETS, environment
from tests.support.ray_head import TOKEN, Head, ray_head
from warehouse.paths import Home


def command(home: Path, name: str = "one", **more: str) -> list[str]:
    flags = [text for flag, value in more.items() for text in (f"--{flag}", value)]
    own = ["--mark", str(home / "mark"), "--name", name, "--home", str(home)]
    return [sys.executable, "-m", MODULE, *own, *flags]


def marks(home: Path) -> list[str]:
    return (home / "mark").read_text().splitlines() if (home / "mark").exists() else []


@pytest.mark.parametrize("given", ["auto", "http://10.0.0.5:8265", "https://ray.example.org/", "http://[::1]:8265"])
def test_addresses(given: str) -> None:
    assert Settings.from_environment({"REWARDBASE_RAY": given}).ray == given.rstrip("/")


@pytest.mark.parametrize(
    "given",
    [
        "Auto",
        "yes",
        "10.0.0.5:8265",
        "ray://10.0.0.5:10001",
        "http://",
        "http://h:port",
        "http://h:99999",
        "http://h:8265/api/jobs",
        "http://h:8265?token=secret",
        "http://h:8265/#secret",
        "http://h 8265",
        "http://user:secret@h:8265",
        "http://[h",
    ],
)
def test_other_texts_are_refused_without_being_quoted(given: str) -> None:
    with pytest.raises(
        UserError, match=r"^REWARDBASE_RAY (is neither auto nor the address|has a user or a password)"
    ) as told:
        Settings.from_environment({"REWARDBASE_RAY": given})
    assert "secret" not in str(told.value)


def test_a_job_is_named_by_what_it_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = tmp_path / "s.yaml"
    study.write_text("study_id: a")

    def made(model: str = "m", home: str = "/elsewhere/a", job: str = "score_documents") -> RayJob:
        home_ = Home(Path(home))
        return RayJob("http://h:1", jobs.job_command(job, study, home_, model), home_.root)

    first = made()
    assert first.name == made(home="/elsewhere/b").name
    assert first.name.startswith("rb-score_documents-") and len(first.name) < 60
    others = {made("n").name, made(job="run_benchmarks").name}
    monkeypatch.setenv("REWARDBASE_PARTS", "s3://bucket")
    others.add(made().name)
    study.write_text("study_id: b")
    others.add(made().name)
    assert len(others | {first.name}) == 5


def test_a_command_for_the_clusters_shell(tmp_path: Path) -> None:
    """Code and studies of the repository lie in the job's folder; a home of the cluster's own comes first."""
    study = REPOSITORY / "dagster_project" / "studies" / "lab.yaml"
    home = Home(tmp_path / "it's a $HOME")
    job = RayJob("http://h:1", jobs.job_command("score_documents", study, home, 'a "b" $c'), home.root)
    code = "import sys; print(sys.argv[1:])"
    text = job.entrypoint().replace("python -m models_train.jobs.score_documents", f'{sys.executable} -c "{code}"')
    for own, expected in (({}, str(home.root)), ({"REWARDBASE_HOME": "/of/it"}, "/of/it")):
        settings = {name: value for name, value in os.environ.items() if name != "REWARDBASE_HOME"} | own
        done = subprocess.run(["bash", "-c", text], env=settings, capture_output=True, text=True, check=True)
        wanted = ["--study", "dagster_project/studies/lab.yaml", "--home", expected, "--model", 'a "b" $c']
        assert done.stdout.strip() == str(wanted)


class _Answers(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(
    ("status", "said"), [(200, "asks for no token, so that everybody"), (404, "is no Ray dashboard .HTTP status 404")]
)
def test_what_is_no_guarded_cluster_is_refused(status: int, said: str) -> None:
    answers = type("Answers", (_Answers,), {"status": status})
    with served(answers) as address, pytest.raises(UserError, match=said):
        check(address)


def test_no_cluster_and_no_token_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    began = time.monotonic()
    with pytest.raises(UserError, match=r"no Ray cluster answers at http://127\.0\.0\.1:1; start it"):
        check("http://127.0.0.1:1")
    with pytest.raises(UserError, match=r"no Ray cluster answers at http://192\.0\.2\.77:8265"):
        check("http://192.0.2.77:8265")  # nobody has it: packets are lost
    assert time.monotonic() - began < 10
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with pytest.raises(UserError, match="RAY_AUTH_MODE=disabled sends no token"):
        check("http://127.0.0.1:1")


def test_why_a_job_ended() -> None:
    text = (
        "[pipes] Ray job rb failed with status FAILED. Message:\nJob entrypoint command failed with exit code 1, last "
    )
    assert (
        reason(RuntimeError(f"{text}available logs (truncated):\nx\ny"))
        == "Job entrypoint command failed with exit code 1"
    )
    assert reason(RuntimeError("")) == "RuntimeError"


@pytest.mark.slow
def test_the_code_location_loads_without_a_cluster(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom dagster_project import environment\nenvironment.prepare()\n"
        "from dagster_project.lib.executor import load_definitions\nload_definitions()\n"
        "print({'ray', 'dagster_ray', 'obstore', 'psycopg2'} & set(sys.modules))"
    )
    settings = environment(tmp_path) | {"REWARDBASE_RAY": "http://127.0.0.1:1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, env=settings, capture_output=True, text=True, check=False
    )
    assert done.stdout == "set()\n", done.stderr


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    with ray_head() as found, pytest.MonkeyPatch.context() as patch:
        for name, value in found.environment.items():
            patch.setenv(name, value)
        patch.setattr(jobs, "ON_CLUSTER", [*jobs.ON_CLUSTER, MODULE])
        patch.setattr(failures, "RETRY_SECONDS", 0.0)
        yield found


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REWARDBASE_HOME", str(tmp_path))
    return tmp_path


def steps(*commands: list[str]) -> tuple[dg.ExecuteInProcessResult, dict[str, str], str]:
    """A run with a step per command; its tags, and the words of the steps that failed."""
    assets = []
    for number in range(len(commands)):

        @dg.asset(key=f"made_{number}", deps=[f"made_{number - 1}"] if number else [])
        def made(context: dg.AssetExecutionContext, pipes: dg.PipesSubprocessClient) -> dg.MaterializeResult:
            job = commands[int(context.asset_key.to_user_string().rpartition("_")[2])]
            return jobs.run_job(context, pipes, job).get_materialize_result()

        assets.append(made)
    with dg.DagsterInstance.ephemeral() as instance:
        resources = {"pipes": jobs.job_client({})}
        done = dg.materialize(assets, instance=instance, resources=resources, raise_on_error=False)
        run = instance.get_run_by_id(done.run_id)
        assert run is not None
    failed = [event.step_failure_data.user_failure_data for event in done.all_events if event.is_step_failure]
    return done, dict(run.tags), "; ".join(str(data.description) for data in failed if data)


@pytest.mark.slow
def test_two_steps_of_a_run_report_and_no_secret_is_sent(
    head: Head, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    done, _, words = steps(command(home, "one"), command(home, "two"))
    assert done.success, words
    found = [event.materialization.metadata for event in done.all_events if event.is_step_materialization]
    assert [(one["rows"].value, one["name"].value) for one in found] == [(3, "one"), (3, "two")]
    assert marks(home) == ["began one", "ended one", "began two", "ended two"]
    shown = json.dumps([head.job(name).model_dump() for name in head.jobs()], default=str)
    assert "NotARealPassword" not in shown and TOKEN not in shown and SECRETS["HF_TOKEN"] not in shown


@pytest.mark.slow
def test_a_failure_that_may_pass_is_tried_again_as_a_second_attempt(head: Head, home: Path) -> None:
    before = set(head.jobs())
    done, tags, words = steps(command(home, fail="once"))
    assert done.success and GIVEN_UP not in tags, words
    assert sum(event.is_step_restarted for event in done.all_events) == 1
    assert marks(home) == ["began one", "began one", "ended one"] and {
        name[-2:] for name in set(head.jobs()) - before
    } == {"-1", "-2"}


@pytest.mark.slow
def test_failures_have_words(head: Head, home: Path) -> None:
    done, tags, words = steps(command(home, fail="a bad file"))
    assert (done.success, words) == (False, "no luck: a bad file") and GIVEN_UP in tags
    done, _, words = steps(command(home, fail="exit"))
    assert not done.success and "Job entrypoint command failed with exit code 3; finished parts are kept" in words
    assert "ray job logs rb-cluster_job-" in words and "\n" not in words


@pytest.mark.slow
def test_a_job_that_takes_too_long_is_stopped(head: Head, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REWARDBASE_JOB_HOURS", "0.004")
    done, tags, words = steps(command(home, seconds="300"))
    assert not done.success and GIVEN_UP in tags
    assert "did not end within 0.004 hours and was stopped; raise REWARDBASE_JOB_HOURS" in words
    assert marks(home) == ["began one", "stopped one"]


@pytest.mark.slow
def test_a_wrong_token_is_named_at_once(head: Head, home: Path) -> None:
    """In a process of its own: Ray reads the token once."""
    for token in ("a-wrong-token-ThatMustNotBeSeen-0123456789abc", ""):
        began = time.monotonic()
        code = "import sys; from dagster_project.lib.ray_jobs import check\ntry: check(sys.argv[1])\n"
        code += "except Exception as error: print(error)"
        done = subprocess.run(
            [sys.executable, "-c", code, head.url],
            cwd=REPOSITORY,
            env=os.environ | {"RAY_AUTH_TOKEN": token, "HOME": str(home)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert "does not take this token, or there is none; set RAY_AUTH_TOKEN" in done.stdout, done.stderr
        assert "ThatMustNotBeSeen" not in done.stdout + done.stderr
        print(f"{time.monotonic() - began:.1f} s")


def started(home: Path, **more: str) -> subprocess.Popen[str]:
    """A run in a process of its own, when its job has begun."""
    (home / "instance").mkdir(exist_ok=True)
    n = len(marks(home))
    run = subprocess.Popen(
        [sys.executable, "-m", MODULE, "run", str(home / "instance"), *command(home, **more)[3:]],
        cwd=REPOSITORY, env=os.environ | {"REWARDBASE_HOME": str(home)}, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    until = time.monotonic() + 120
    while len(marks(home)) == n and not more.get("adopts") and time.monotonic() < until:
        assert run.poll() is None, run.communicate()
        time.sleep(0.2)
    return run


def until_stopped(head: Head, name: str) -> str:
    until = time.monotonic() + 60
    while head.jobs()[name] in ("RUNNING", "PENDING") and time.monotonic() < until:
        time.sleep(0.2)
    return head.jobs()[name]


@pytest.mark.slow
def test_ctrl_c_stops_the_job(head: Head, home: Path) -> None:
    run = started(home, seconds="300")
    name = RayJob(head.url, command(home, seconds="300"), home).name + "-1"
    time.sleep(3)
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=200)
    assert until_stopped(head, name) == "STOPPED" and marks(home) == ["began one", "stopped one"]


@pytest.mark.slow
def test_the_job_of_a_killed_run_is_adopted_not_doubled(head: Head, home: Path) -> None:
    run = started(home, seconds="25")
    name = RayJob(head.url, command(home, seconds="25"), home).name + "-1"
    run.kill()
    run.communicate()
    assert head.jobs()[name] == "RUNNING"
    done, _, words = steps(command(home, seconds="25"))
    assert done.success, words
    (made,) = [event.materialization.metadata for event in done.all_events if event.is_step_materialization]
    assert made["rows"].value == 3 and marks(home) == ["began one", "ended one"]
