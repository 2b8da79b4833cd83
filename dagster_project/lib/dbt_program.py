"""dbt as a program of its own, on the project of the warehouse."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping

from dagster_project.environment import DBT_PROJECT
from warehouse.paths import REPOSITORY


def run_dbt(*command: str, places: Mapping[str, str] | None = None) -> str | None:
    """Run a command of dbt quietly; returns what dbt says where it fails, and None otherwise.

    places: environment variables beside this process's own, such as where dbt writes.
    """
    projects = ["--project-dir", str(DBT_PROJECT), "--profiles-dir", str(DBT_PROJECT)]
    done = subprocess.run(
        [sys.executable, "-m", "dbt.cli.main", "--quiet", "--no-use-colors", *command, *projects],
        cwd=REPOSITORY,  # dbt's Python models import the project's packages
        env=os.environ | (places or {}),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return None
    return (done.stdout + done.stderr).strip() or f"exit status {done.returncode}"
