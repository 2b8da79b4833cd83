"""dbt's manifest: what Dagster knows of the dbt project. Made again when a file of the project is newer."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from dagster_project.environment import DBT_PROJECT
from warehouse.home import Home


def path(home: Home) -> Path:
    """The manifest's file."""
    return home.dbt_target / "manifest.json"


def is_current(home: Home) -> bool:
    """Whether no file or folder of the dbt project changed since the manifest was made."""
    manifest = path(home)
    if not manifest.exists():
        return False
    made = manifest.stat().st_mtime
    return all(changed.stat().st_mtime < made for changed in _project_files())


def bring_up_to_date(home: Home) -> str | None:
    """Parse the dbt project if that is needed; returns dbt's words where it cannot be parsed, and None otherwise."""
    if is_current(home):
        return None
    dbt = str(Path(sys.executable).with_name("dbt"))
    folders = ["--project-dir", str(DBT_PROJECT), "--profiles-dir", str(DBT_PROJECT)]
    done = subprocess.run(
        [dbt, "--quiet", "--no-use-colors", "parse", *folders], capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        return None
    path(home).unlink(missing_ok=True)
    said = (done.stdout + done.stderr).strip() or f"exit status {done.returncode}"
    return f"dbt cannot read the project in dbt/; mend what it names and run again.\n{said}"


def _project_files() -> Iterator[Path]:
    yield DBT_PROJECT
    for found in DBT_PROJECT.rglob("*"):
        if not {"target", "logs", "__pycache__"} & set(found.relative_to(DBT_PROJECT).parts):
            yield found
