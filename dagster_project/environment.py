"""The process environment of a run: where things are written, and programs that keep quiet."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from models_train import telemetry
from warehouse.paths import REPOSITORY, VARIABLE, Home

PROJECT = Path(__file__).resolve().parent
STUDIES_VARIABLE = "REWARDBASE_STUDIES"
STUDIES = Path(os.environ.get(STUDIES_VARIABLE, "").strip() or PROJECT / "studies").expanduser().absolute()
"""Folder of the study files: what REWARDBASE_STUDIES names, or else the studies that ship with the project."""
DBT_PROJECT = REPOSITORY / "dbt"
SEEDS = DBT_PROJECT / "seeds"

# NumPy sets these while it is first imported and takes them away again. dbt's threads read the environment meanwhile,
# and one that finds a name gone fails; what is set already, NumPy leaves alone.
STEADY = {"OPENBLAS_MAIN_FREE": "1", "GOTOBLAS_MAIN_FREE": "1"}

QUIET = {
    "DAGSTER_DISABLE_TELEMETRY": "yes",
    "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
} | telemetry.OFF


def prepare() -> Home:
    """Make the run-time folders and point Dagster and dbt at them; returns the home.

    Settings that the caller's environment already has stay, except the home and the folder of study files, which
    are made absolute: dbt runs in another folder.
    """
    home = Home.from_environment().ensure()
    os.environ[VARIABLE] = str(home.root)
    os.environ[STUDIES_VARIABLE] = str(STUDIES)
    for name, value in (QUIET | STEADY).items():
        os.environ.setdefault(name, value)
    # Programs of this environment (dbt) are found although nobody activated it.
    programs = str(Path(sys.executable).parent)
    if programs not in os.environ.get("PATH", "").split(os.pathsep):
        os.environ["PATH"] = os.pathsep.join([programs, os.environ.get("PATH", os.defpath)])
    os.environ["DAGSTER_HOME"] = str(home.dagster_home)
    os.environ["DBT_TARGET_PATH"] = str(home.dbt_target)
    os.environ["DBT_LOG_PATH"] = str(home.dbt_logs)
    shutil.copyfile(PROJECT / "instance.yaml", home.dagster_home / "dagster.yaml")
    return home
