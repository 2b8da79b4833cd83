"""Settings: defaults, values of the environment, and messages for wrong ones."""

import re
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
