"""Fixtures shared by many tests: real runs, made once per session whatever the number of workers (`pytest -n`)."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pytest
import yaml
from filelock import FileLock

from tests.support import real_data
from tests.support.bad_names import rename_models
from tests.support.buckets import Buckets, s3
from tests.support.programs import REPOSITORY, environment, listening, run_rewardbase

# No test asks the real hub: set before anything imports the hub's client, which reads it once.
os.environ["HF_HUB_OFFLINE"] = "1"

# Files of many real runs come first, so that at the end no worker is left alone with one. The first two need different
# runs that others share, so that neither worker waits for the other's.
LONGEST_FILES = (
    "test_own_study.py",
    "test_candidates.py",
    "test_recovery.py",
    "test_unattended.py",
    "test_ui.py",
    "test_run.py",
    "test_types.py",
)

SLOW_FIXTURES = {"first_run", "small_run", "partly_trained", "run_dbt", "ui", "browser"}
"""Fixtures that run Dagster, dbt or a browser: their tests are marked `slow`."""

DEADLINE = "REWARDBASE_TEST_DEADLINE"
"""Variable: seconds since 1970 after which no slow test begins. CI sets it, whose time is limited."""

TOO_LATE = f"slow test that would begin after {DEADLINE}; `make test` without it runs all"

LEFT_OUT = pytest.StashKey[int]()
WORKERS_LEFT_OUT = "tests left out for want of real data"

# The small study: the defaults of the three size groups and a better model for each, so that every table of the
# published study has rows but those of the performance model, which needs eight models and abstains.
SMALL_STUDY = (
    "gemma-2-9b-it",
    "gemma-2-2b-it",
    "Llama-3.2-3B-Instruct",
    "Llama-3.2-1B-Instruct",
    "Llama-3.1-8B-Instruct",
    "Qwen2.5-3B-Instruct",
    "Qwen2.5-7B-Instruct",
    "Llama-3.1-8B",
)


@contextmanager
def ui_at_work(home: Path, project: Path, **settings: str) -> Iterator[tuple[str, Path]]:
    """The program of `make ui`, when its pages and its daemon answer: its address, and the file of what it printed.

    settings: more of its environment. It ends as a service manager would end it (SIGTERM), with all that it started.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    said = home / "ui.log"
    with said.open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "dagster_project.cli.ui", "--port", str(port)],
            cwd=project,
            env=environment(home, project) | settings,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        address = f"http://127.0.0.1:{port}"
        try:
            wait_for(
                lambda: ask(address, "{ instance { daemonHealth { allDaemonStatuses { healthy required } } } }"), 600
            )
            assert {found.rpartition(":")[0] for found in listening(process.pid)} == {"127.0.0.1"}
            yield address, said
            process.terminate()
            assert process.wait(120) is not None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def ask(address: str, query: str, **variables: object) -> dict[str, Any] | None:
    """What the UI's own interface answers; None while it does not."""
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(f"{address}/graphql", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            found = json.load(answer)
    except OSError:
        return None
    assert not found.get("errors"), found
    data: dict[str, Any] = found["data"]
    return data


def wait_for(found: Callable[[], Any], seconds: float, pause: float = 0.5) -> Any:
    """What `found` returns, as soon as that is something."""
    ends = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < ends, f"not there after {seconds:g} s"
        time.sleep(pause)
    return value


@pytest.fixture(scope="session")
def ui() -> SimpleNamespace:
    """`at_work`: the program of `make ui` around a block; `ask` it a GraphQL query; `wait_for` something."""
    return SimpleNamespace(at_work=ui_at_work, ask=ask, wait_for=wait_for)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[Buckets]:
    """A server of S3 for all tests of this worker."""
    with s3() as server:
        yield server


@pytest.fixture
def bucket(s3_server: Buckets, monkeypatch: pytest.MonkeyPatch) -> str:
    """Address of a folder in a new bucket, whose server and credentials are in the environment."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    return s3_server.new()


def copy_project(folder: Path) -> Path:
    """The project as a person has it, with the published study alone, without what is made at run time."""
    for name in ("dagster_project", "dbt", "models_train", "warehouse"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "pyproject.toml", folder)
    for study in ("lab", "rewardbench2", "teachers"):
        (folder / "dagster_project" / "studies" / f"{study}.yaml").unlink()
    return folder


def keep_models(project: Path, kept: tuple[str, ...]) -> None:
    """Leave only the models `kept` in the published study and in its seeds."""
    study = project / "dagster_project" / "studies" / "published.yaml"
    head, listed = study.read_text().split("\nmodels:\n")
    entries = re.findall(r"^  - \{?model_id: .+\n(?:    .+\n)*", listed, flags=re.MULTILINE)
    by_name = {re.search(r"model_id: ([^\s,]+)", entry)[1]: entry for entry in entries}  # type: ignore[index]
    study.write_text(f"{head}\nmodels:\n{''.join(by_name[name] for name in by_name if name in kept)}")
    assert set(kept) <= set(by_name)
    for seed in (project / "dbt" / "seeds").glob("*.csv"):
        header, *rows = seed.read_text().splitlines(keepends=True)
        if header.startswith("model_id,") and seed.stem != "rewardbench2_base_by_data":
            seed.write_text(header + "".join(row for row in rows if row.split(",")[0] in kept))


def pytest_configure(config: pytest.Config) -> None:
    if real_data.IS_SET and (missing := real_data.missing()):
        raise pytest.UsageError(f"{real_data.SETTING}={real_data.FOLDER} lacks {', '.join(missing)}")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark tests of whole runs as slow, leave out those on real data where there is none, put the longest first."""
    for item in items:
        if SLOW_FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)
    left_out = [] if real_data.IS_SET else [item for item in items if item.get_closest_marker("real_data")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]
    config.stash[LEFT_OUT] = len(left_out)
    order = {name: place for place, name in enumerate(LONGEST_FILES)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a slow test, and say so, where the time is up: a check that is broken off tells nothing about any test."""
    if item.get_closest_marker("slow") and time.time() > float(os.environ.get(DEADLINE, "inf")):
        pytest.skip(TOO_LATE)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of pytest-xdist sends its count to the process that reports."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput[WORKERS_LEFT_OUT] = session.config.stash.get(LEFT_OUT, 0)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Every worker collects all tests, so one count is the count of all."""
    node.config.stash[LEFT_OUT] = getattr(node, "workeroutput", {}).get(WORKERS_LEFT_OUT, 0)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    late = [report.nodeid for report in terminalreporter.stats.get("skipped", ()) if TOO_LATE in str(report.longrepr)]
    for name in late:
        terminalreporter.write_line(f"Not run for want of time: {name}")
    if count := config.stash.get(LEFT_OUT, 0):
        terminalreporter.write_line(
            f"{count} tests on third parties' data were left out: {real_data.SETTING} does not name a folder with it"
        )


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """A function (name, make) -> folder that `make` filled: once per session, the other workers wait for it."""
    own = tmp_path_factory.getbasetemp()
    base = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own

    def made(name: str, make: Callable[[Path], object]) -> Path:
        folder = base / name
        with FileLock(base / f"{name}.lock"):
            if not (base / f"{name}.made").exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                make(folder)
                (base / f"{name}.made").touch()
        return folder

    return made


@pytest.fixture(scope="session")
def storyteller(made_once: Callable[..., Path]) -> Path:
    """Folder of a base model of 260,000 parameters that was trained on stories. Tests read it."""
    from tests.support.storyteller import write_storyteller  # with torch, which few tests need

    return made_once("storyteller", write_storyteller)


def run_and_keep(home: Path, kept: Path, project: Path = REPOSITORY) -> None:
    """Run, and write down how it went for the other workers."""
    done = run_rewardbase(home, project=project)
    assert done.returncode == 0, done.stdout + done.stderr
    kept.write_text(json.dumps([done.args, done.returncode, done.stdout, done.stderr]))


@pytest.fixture(scope="session")
def first_run(made_once: Callable[..., Path]) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Home and outcome of a first run of the whole published study."""
    folder = made_once("published", lambda folder: run_and_keep(folder / "home", folder / "outcome.json"))
    return folder / "home", subprocess.CompletedProcess(*json.loads((folder / "outcome.json").read_text()))


@pytest.fixture(scope="session")
def home(first_run: tuple[Path, subprocess.CompletedProcess[str]]) -> Path:
    """Home of a finished run. Tests read it; those that run again take a copy."""
    return first_run[0]


@pytest.fixture(scope="session")
def published(home: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Read-only connection to the published snapshot, as an analyst has it."""
    connection = duckdb.connect(str(home / "published" / "current.duckdb"), read_only=True)
    yield connection
    connection.close()


@pytest.fixture(scope="session")
def run() -> object:
    """The function that runs Rewardbase."""
    return run_rewardbase


@pytest.fixture(scope="session")
def small_run(made_once: Callable[..., Path]) -> Path:
    """Folder with `project`, the project with a small study of badly named models, and `home`, its finished run. To be
    copied."""

    def make(folder: Path) -> None:
        project = copy_project(folder / "project")
        keep_models(project, SMALL_STUDY)
        rename_models(project)
        run_and_keep(folder / "home", folder / "outcome.json", project)

    return made_once("small", make)


@pytest.fixture(scope="session")
def trained(
    small_run: Path, storyteller: Path, made_once: Callable[..., Path]
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Folder with `project`, a study of tiny models and a small lab beside the small published study, and `home`, its
    finished first run; and the outcome of that run."""
    from tests.support.trained_studies import own_study, small_lab  # with torch, which few tests need

    def make(folder: Path) -> None:
        shutil.copytree(small_run / "project", folder / "project")
        studies = folder / "project" / "dagster_project" / "studies"
        for name, study in (("mine", own_study(folder, storyteller)), ("small", small_lab())):
            (studies / f"{name}.yaml").write_text(yaml.safe_dump(study))
        run_and_keep(folder / "home", folder / "outcome.json", folder / "project")

    folder = made_once("trained", make)
    return folder, subprocess.CompletedProcess(*json.loads((folder / "outcome.json").read_text()))


@pytest.fixture(scope="module")
def project_copy(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A project with a small study that a test may spoil, and the home of its finished run; both up to date."""
    folder = tmp_path_factory.mktemp("copy") / "small"
    shutil.copytree(small_run, folder, symlinks=True)
    return folder / "project", folder / "home"


@pytest.fixture(scope="module")
def whole_project_copy(home: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A copy of the whole project that a test may spoil, and a copy of the finished home; both up to date."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(home, folder / "home", symlinks=True)
    return copy_project(folder / "project"), folder / "home"
