"""Names of the home: those that Dagster's database cannot be in are refused at the start, in one sentence."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import dagster as dg
import pytest

from models_train.errors import UserError
from warehouse.paths import REPOSITORY, VARIABLE, Home

GOOD = ("a b", "o'brien", 'a "quoted" one', "é日本", "x#1", "a&b;c", "a{{b}}", "[a]*", "1+1=2,~!^@|<>", "$HOME")
GOOD_ENDS = ("a ", "-x", "a.")
NOBODY = 65534
LONG = "x" * 200 + "/" + "y/" * 2000
BAD = ("a%20b", "odd?x=1", "50%", "two\nlines", "tab\there", "bell\x07", "not utf-8 \udcff", LONG)
COMMANDS = [(f"dagster_project.cli.{name}", VARIABLE) for name in ("run", "docs", "rebuild", "ui")]
COMMANDS += [(f"warehouse.cli.{name}", VARIABLE) for name in ("shell", "recommend")]
COMMANDS += [("dagster_project.cli.run", "REWARDBASE_STUDIES")]


@pytest.mark.parametrize("name", [*GOOD, *GOOD_ENDS])
def test_a_good_name_holds_dagsters_database(name: str, tmp_path: Path) -> None:
    home = Home.from_environment({VARIABLE: str(tmp_path / name)}).ensure()
    with dg.DagsterInstance.local_temp(str(home.dagster_home)) as instance:
        assert instance.get_runs() == []
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert list(home.dagster_home.rglob("runs.db"))


@pytest.mark.parametrize("name", BAD)
def test_a_bad_name_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"cannot be the folder of everything written: .*{VARIABLE}") as refused:
        Home.from_environment({VARIABLE: str(tmp_path / name)})
    assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(("command", "variable"), COMMANDS)
def test_every_command_says_so_in_one_sentence(command: str, variable: str, tmp_path: Path) -> None:
    value = "~nosuchuser/x"
    done = subprocess.run(
        [sys.executable, "-m", command],
        cwd=REPOSITORY,
        env=os.environ | {VARIABLE: str(tmp_path), variable: value},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr and "~nosuchuser/x: there is no such user" in done.stderr


@pytest.mark.parametrize(
    "kept", ["warehouse.duckdb", "parts/documents", "parts/documents/mine", "dagster/history/runs.db"]
)
def test_what_belongs_to_another_user_is_named_before_any_work(kept: str) -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to other users
        home = Home(Path(folder)).ensure()
        kind = Path.mkdir if kept.startswith("parts") else Path.touch
        (home.root / kept).parent.mkdir(parents=True, exist_ok=True)
        kind(home.root / kept)
        is_root = os.getuid() == 0
        for path in (home.root, *home.root.rglob("*")):
            if is_root and path != home.root / kept:
                os.chown(path, NOBODY, NOBODY)
        (home.root / kept).chmod(0o555)
        child = os.fork()
        if not child:
            try:
                if is_root:
                    os.setgid(NOBODY)
                    os.setuid(NOBODY)
                home.ensure()
            except PermissionError as error:
                os._exit(0 if error.filename == str(home.root / kept) else 2)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
