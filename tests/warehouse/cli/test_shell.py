"""`make sql`: DuckDB's own shell on the published snapshot."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from tests.support.publishing import MARTS, change
from warehouse.cli import shell
from warehouse.paths import REPOSITORY, VARIABLE, Home
from warehouse.publish import publish


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    made = Home(tmp_path_factory.mktemp("var")).ensure()
    change(made, MARTS)
    publish(made)
    return made


def sql(home: Home, *arguments: str, typed: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "warehouse.cli.shell", *arguments],
        input=typed,
        cwd=REPOSITORY,
        env=os.environ | {VARIABLE: str(home.root)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_query_prints_a_table(home: Home) -> None:
    done = sql(home, "--query", "select study_id, title from dim_studies where title like '%''s a lab'")
    assert done.returncode == 0, done.stderr
    assert "│ lab      │ It's a lab │" in done.stdout


def test_the_shell_takes_what_is_typed(home: Home) -> None:
    done = sql(home, typed=".mode csv\nselect count(*) as n from fct_results;\n")
    assert (done.returncode, done.stdout.split()) == (0, ["n", "1001"])


def test_nothing_can_be_written(home: Home) -> None:
    for query in ("create table x as select 1", "delete from marts.fct_results", "drop view fct_results"):
        done = sql(home, "--query", query)
        assert done.returncode != 0 and "read-only" in done.stderr


@pytest.mark.parametrize(
    "typed",
    [
        "copy fct_results to '{file}';",
        "attach '{file}' as other;",
        "attach '{file}' as other (read_write);",
        "export database '{file}';",
        "set enable_external_access = true;\ncopy fct_results to '{file}';",
        "select count(*) from read_csv('pyproject.toml');",
        "install json;",
        ".shell touch '{file}'",
        ".system touch '{file}'",
        ".output '{file}'\nselect 1;",
        ".once '{file}'\nselect 1;",
        ".open '{file}'\ncreate table x as select 1;",
        ".log '{file}'",
    ],
)
def test_no_file_is_written_or_read_and_no_program_started(home: Home, tmp_path: Path, typed: str) -> None:
    file = tmp_path / "made"
    done = sql(home, typed=typed.format(file=file) + "\n")
    assert any(word in done.stderr for word in ("-safe mode", "disabled", "locked")), done.stderr
    assert list(tmp_path.iterdir()) == []


def test_without_a_snapshot_or_a_shell_it_says_what_to_do(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done = sql(Home(tmp_path))
    assert done.returncode == 1 and "run `make run` to make one" in done.stderr
    monkeypatch.setenv(VARIABLE, str(home.root))
    monkeypatch.setattr(shell, "_INSTALLED", "no_such_package")
    assert shell.main([]) == 1
    assert f"pip install duckdb-cli=={duckdb.__version__}" in capsys.readouterr().err


def test_the_shell_is_of_the_version_that_writes_the_files() -> None:
    program = shell.shell_program()
    assert program is not None
    said = subprocess.run([str(program), "--version"], capture_output=True, text=True, check=True).stdout
    assert said.startswith(f"v{duckdb.__version__} ")


@pytest.mark.parametrize("query", ["select 'it''s' as \"two words\"", "select '$HOME `id` $(shell id) $$' as x"])
def test_make_hands_the_query_on_as_it_was_typed(tmp_path: Path, query: str) -> None:
    """With the Makefile's own lines, and a program that prints its arguments in place of the shell."""
    makefile = (REPOSITORY / "Makefile").read_text()
    echo = tmp_path / "python"
    echo.write_text('#!/bin/sh\nprintf "%s" "$4"\n')
    echo.chmod(0o755)
    recipe = next(line for line in makefile.splitlines() if "-m warehouse.cli.shell" in line)
    settings = [line for line in makefile.splitlines() if "QUERY" in line and not line.startswith(("\t", "sql:"))]
    (tmp_path / "Makefile").write_text("\n".join([f"BIN := {tmp_path}", *settings, "sql:", recipe, ""]))
    # Under `make test`, MAKEFLAGS would bring that make's options along.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = ["make", "-s", "-C", str(tmp_path), "sql", f"QUERY={query}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == query


@pytest.mark.parametrize(("start", "said"), [(0, "cannot be opened"), (12_288, "is damaged")])
def test_a_damaged_snapshot_is_named_with_what_to_do(tmp_path: Path, start: int, said: str) -> None:
    home = Home(tmp_path).ensure()
    change(home, MARTS)
    file = publish(home).path
    file.chmod(0o644)
    with file.open("r+b") as opened:
        opened.seek(start)
        opened.write(b"\xa5" * (file.stat().st_size - start - 4096))
    done = sql(home, "--query", "select 1")
    assert done.returncode == 1 and said in done.stderr and "`make run`" in done.stderr
    assert len(done.stderr.splitlines()) == 1
