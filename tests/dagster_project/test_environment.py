"""Settings: defaults, values of the environment, and messages for wrong ones."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dagster_project.environment import Settings, settings_table
from models_train.errors import UserError
from warehouse.paths import REPOSITORY


def test_every_variable_has_a_default_and_can_be_set(tmp_path: Path) -> None:
    default = Settings.from_environment({"REWARDBASE_JOB_HOURS": " "})
    assert (default.job_hours, default.look_seconds, default.alerts) == (48.0, 30, "")
    assert default.home.name == "var" and default.studies.name == "studies" and default.workers in (1, 2)
    given = {
        "REWARDBASE_HOME": str(tmp_path),
        "REWARDBASE_STUDIES": "~/mine",
        "REWARDBASE_WORKERS": "7",
        "REWARDBASE_JOB_HOURS": "3.5",
        "REWARDBASE_LOOK_SECONDS": "2",
        "REWARDBASE_ALERTS": "json://localhost",
        "REWARDBASE_PARTS": "~/parts",
        "REWARDBASE_PUBLISH": str(tmp_path / "published"),
    }
    found = Settings.from_environment(given)
    assert (found.home, found.studies) == (tmp_path, Path.home() / "mine")
    assert (found.workers, found.job_hours, found.look_seconds, found.alerts) == (7, 3.5, 2, "json://localhost")
    assert (found.parts, found.publish) == (str(Path.home() / "parts"), str(tmp_path / "published"))
    assert all(f"| `{variable}` |" in settings_table() for variable in given)


@pytest.mark.parametrize(
    "value", ["0", "-1", "two", "inf", "nan", "1e400", "1_0", "\u0663", "9" * 30, "1,5", "None", "[1]", "0x1", "1 2"]
)
def test_a_wrong_number_is_named_with_its_variable_and_what_is_accepted(value: str) -> None:
    accepted = {
        "REWARDBASE_WORKERS": "a whole number from 1 to 1,000; correct or unset it (default 1; 2 without a GPU)",
        "REWARDBASE_JOB_HOURS": "a number above 0 and up to 10,000, such as 3.5; correct or unset it (default 48)",
        "REWARDBASE_LOOK_SECONDS": "a whole number from 1 to 86,400; correct or unset it (default 30)",
    }
    for variable, text in accepted.items():
        with pytest.raises(UserError, match=re.escape(f"{variable}={value} is not {text}")):
            Settings.from_environment({variable: value})


def test_a_former_setting_is_named_with_its_replacement() -> None:
    for variable in ("REWARDBASE_ALERT_WEBHOOK", "REWARDBASE_ALERT_EMAIL"):
        with pytest.raises(UserError, match=f"{variable} is no longer read; set REWARDBASE_ALERTS="):
            Settings.from_environment({variable: "http://localhost"})


@pytest.mark.parametrize("variable", ["REWARDBASE_PARTS", "REWARDBASE_PUBLISH"])
@pytest.mark.parametrize("value", ["ftp://host/x", "s3://", "s3://key:TheSecret@bucket/x", "~nobody-of-this-name/x"])
def test_a_wrong_place_is_named_without_its_secret(variable: str, value: str) -> None:
    with pytest.raises(UserError) as caught:
        Settings.from_environment({variable: value})
    assert str(caught.value).startswith(f"{variable}: ") and "TheSecret" not in str(caught.value)


MOVED = """
import subprocess, sys
from dagster_project import environment
from dagster_project.cli import ui
from dagster_project.lib import dbt

environment.prepare()
for command in (ui.program("dagster"), ui.program("dagster-daemon"), dbt.PROGRAM):
    assert subprocess.run([*command, "--help"], cwd="/", stdout=subprocess.DEVNULL).returncode == 0, command
where = [sys.executable, "-c", "import models_train; print(models_train.__file__)"]
print(subprocess.run(where, cwd="/", capture_output=True, text=True, check=True).stdout)
"""


@pytest.mark.slow
def test_a_moved_checkout_starts_its_own_programs_on_its_own_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scripts of the copied environment name a Python that is gone, and its packages name the first checkout."""
    for name in ("dagster_project", "models_train", "warehouse", "dbt"):
        shutil.copytree(REPOSITORY / name, tmp_path / name)
    environment = Path(sys.prefix)
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    shutil.copy(environment / "pyvenv.cfg", programs.parent)
    (programs.parent / "lib").symlink_to(environment / "lib")
    (programs / "python").symlink_to(Path(sys.executable).resolve())
    for name in ("dagster", "dagster-daemon", "dbt"):
        lines = (environment / "bin" / name).read_text().splitlines()
        (programs / name).write_text("\n".join(["#!/gone/.venv/bin/python", *lines[1:]]))
    monkeypatch.setenv("REWARDBASE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    for name in ("REWARDBASE_STUDIES", "DAGSTER_HOME"):
        monkeypatch.delenv(name, raising=False)
    done = subprocess.run([programs / "python", "-c", MOVED], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "models_train" / "__init__.py")
