"""Dagster's records in Postgres: addresses, runs, a server that is away, and no password anywhere."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dagster_project.environment import Settings, instance_file
from dagster_project.lib import postgres
from dagster_project.lib.storage import check_storage, databases
from models_train.errors import UserError
from tests.support.postgres import PASSWORD, Server, server, unused_secret
from tests.support.programs import REPOSITORY, environment, files_with_secrets, run_program
from warehouse.paths import Home

RUN = """
import dagster as dg
from dagster_project import environment
home = environment.prepare()
from dagster_project.lib import keys
from dagster_project.lib.executor import execute
from dagster_project.lib.run_requests import refresh_request
from dagster_project.lib.storage import check_storage
check_storage(home)
with dg.DagsterInstance.get() as instance:
    failures = execute(instance, refresh_request([keys.STUDIES]))
    print(failures, type(instance.event_log_storage).__name__)
    print(instance.get_latest_materialization_event(keys.STUDIES) is not None)
"""


@pytest.mark.parametrize(
    ("given", "driver"),
    [
        ("postgresql://u:p@h:5432/d", "postgresql+psycopg2://u:p@h:5432/d"),
        ("postgres://u@h/d?sslmode=require", "postgresql+psycopg2://u@h/d?sslmode=require"),
        ("postgresql+psycopg2://u:a%40b@h/d", "postgresql+psycopg2://u:a%40b@h/d"),
        ("postgresql:///d?host=/run/postgresql", "postgresql+psycopg2:///d?host=/run/postgresql"),
    ],
)
def test_an_address_is_given_the_driver(given: str, driver: str) -> None:
    assert Settings.from_environment({"REWARDBASE_POSTGRES": given}).postgres == driver
    assert Settings.from_environment({"REWARDBASE_POSTGRES": driver}).postgres == driver


@pytest.mark.parametrize(
    "given",
    [
        "yes",
        "localhost:5432",
        "mysql://u:secret@h/d",
        "postgresql+asyncpg://u:secret@h/d",
        "postgresql://u:secret@h",
        "postgresql://u:secret@h/",
        "postgresql://u:sec/ret@h/d",
        "postgresql://u:sec@ret@h/d",
        "postgresql://u:sec#ret@h/d",
        "postgresql://u:sec?ret@h/d",
        "postgresql://u:secret@h:port/d",
        "postgresql://u:secret@h:99999/d",
        "postgresql://u:sec ret@h/d",
        "postgresql://u:secret@[h/d",
    ],
)
def test_another_text_is_refused_without_being_quoted(given: str) -> None:
    with pytest.raises(
        UserError, match=r"^REWARDBASE_POSTGRES is not the address of a Postgres database; write"
    ) as told:
        Settings.from_environment({"REWARDBASE_POSTGRES": given})
    assert "sec" not in str(told.value)


def test_without_the_setting_nothing_changes() -> None:
    assert "postgres" not in instance_file()
    assert instance_file("postgresql+psycopg2://u:secret@h/d").startswith(instance_file())
    assert "env: REWARDBASE_POSTGRES" in instance_file("x") and "secret" not in instance_file("u:secret@h")
    code = "import dagster_project.environment, dagster_project.lib.storage, sys; print('psycopg2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert done.stdout == "False\n"


@pytest.fixture(scope="module")
def database() -> Iterator[Server]:
    with server() as found:
        yield found


def program(home: Path, address: str) -> subprocess.Popen[str]:
    settings = environment(home) | {"REWARDBASE_POSTGRES": address}
    command = [sys.executable, "-c", RUN]
    return subprocess.Popen(
        command, cwd=REPOSITORY, env=settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.slow
def test_two_runs_at_once_are_recorded_and_the_password_is_written_nowhere(database: Server, tmp_path: Path) -> None:
    homes = [tmp_path / "one", tmp_path / "two"]
    runs = [program(home, database.address) for home in homes]
    for run in runs:
        out, errors = run.communicate(timeout=600)
        assert out.endswith("[] PostgresEventLogStorage\nTrue\n"), errors
        assert PASSWORD not in out + errors
    assert database.query("select status, count(*) from runs group by status") == [("SUCCESS", 2)]
    for home in homes:
        assert files_with_secrets(home) == []
        assert not list((home / "dagster" / "history").rglob("*.db"))


def refused(home: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("REWARDBASE_POSTGRES", address)
    with pytest.raises(UserError) as told:
        check_storage(Home(home))
    text = str(told.value)
    assert text.startswith("REWARDBASE_POSTGRES: the Postgres database ") and "\n" not in text
    assert PASSWORD not in text and "ThatMustNotBeSeen" not in text
    return text


@pytest.mark.slow
def test_a_database_that_cannot_be_used_is_named(
    database: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(old: str, new: str) -> str:
        return refused(tmp_path, database.address.replace(old, new), monkeypatch)

    assert "it does not take the user's password" in told(PASSWORD, unused_secret())
    assert "the database or the user is not there" in told("/dagster", "/nothere")
    assert "it does not take the user's password" in told("owner", "nobody_known")
    assert "it asks for a password" in told(f":{PASSWORD}", "")
    assert "the server does not answer" in told(f":{database.port}", ":1")
    assert "there is no host of this name" in told("127.0.0.1", "nowhere.invalid")
    assert "none of Postgres's" in told("/dagster", "/dagster?colour=red")
    assert "the server does not answer" in told("127.0.0.1", "") + told("127.0.0.1", "%2Fnowhere")
    database.query("create database closed")
    assert "the user may not make tables there" in told("/dagster", "/closed")
    database.query("alter role owner set default_transaction_read_only to on")
    assert "is read-only" in told("x", "x")
    database.query("alter role owner reset all")
    assert check_storage(Home(tmp_path)) == [] and databases(Home(tmp_path)) == {}
    monkeypatch.setenv(
        "REWARDBASE_POSTGRES", f"postgresql://admin@/dagster?host={database.folder}&port={database.port}"
    )
    assert check_storage(Home(tmp_path)) == []


@pytest.mark.slow
def test_make_run_says_that_the_server_is_away(
    database: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REWARDBASE_POSTGRES", database.address.replace(f":{database.port}", ":1"))
    done = run_program("run", tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[1:] == [
        "REWARDBASE_POSTGRES: the Postgres database 'dagster' at 127.0.0.1: the server does not answer; start it, or "
        "correct the address"
    ]


AWAY = """
import dagster as dg
from dagster_project import environment
environment.prepare()
from dagster_project.lib import postgres
with dg.DagsterInstance.get() as instance:
    instance.get_runs()
    print("ready", flush=True)
    input()
    try:
        instance.get_runs()
    except Exception as error:
        print(postgres.lost(error))
"""


@pytest.mark.slow
def test_a_server_that_goes_away_during_the_work_is_named(database: Server, tmp_path: Path) -> None:
    settings = environment(tmp_path) | {"REWARDBASE_POSTGRES": database.address}
    program = subprocess.Popen(
        [sys.executable, "-c", AWAY], cwd=REPOSITORY, env=settings, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert program.stdin is not None and program.stdout is not None
    assert program.stdout.readline() == "ready\n"
    database.stop()
    try:
        out, _ = program.communicate("\n", timeout=120)
    finally:
        database.start()
    assert "went away during the work: the server does not answer" in out and PASSWORD not in out
    assert postgres.lost(ValueError("x")) is None and os.environ.get("REWARDBASE_POSTGRES") is None
