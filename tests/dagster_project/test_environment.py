"""Settings: defaults, values of the environment, and messages for wrong ones."""

from pathlib import Path

import pytest

from dagster_project.environment import Settings, settings_table
from models_train.errors import UserError


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
    }
    found = Settings.from_environment(given)
    assert (found.home, found.studies) == (tmp_path, Path.home() / "mine")
    assert (found.workers, found.job_hours, found.look_seconds, found.alerts) == (7, 3.5, 2, "json://localhost")
    assert all(f"| `{variable}` |" in settings_table() for variable in given)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("REWARDBASE_WORKERS", "0"),
        ("REWARDBASE_WORKERS", "two"),
        ("REWARDBASE_JOB_HOURS", "-1"),
        ("REWARDBASE_JOB_HOURS", "long"),
        ("REWARDBASE_JOB_HOURS", "inf"),
        ("REWARDBASE_LOOK_SECONDS", "0.5"),
    ],
)
def test_a_wrong_value_is_named_with_its_variable(variable: str, value: str) -> None:
    with pytest.raises(UserError, match=f"{variable}={value} is not a number above zero.*default"):
        Settings.from_environment({variable: value})


def test_a_former_setting_is_named_with_its_replacement() -> None:
    for variable in ("REWARDBASE_ALERT_WEBHOOK", "REWARDBASE_ALERT_EMAIL"):
        with pytest.raises(UserError, match=f"{variable} is no longer read; set REWARDBASE_ALERTS="):
            Settings.from_environment({variable: "http://localhost"})
