"""dbt's manifest: what Dagster knows of the dbt project. Made again whenever the project changed."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from typing import Any

from dagster_project.environment import DBT_PROJECT
from dagster_project.lib import versions
from dagster_project.lib.dbt_program import run_dbt
from warehouse.paths import Home

BUILDABLE = ("model", "seed", "snapshot")
MARTS = tuple(sorted(path.stem for path in (DBT_PROJECT / "models" / "marts").glob("*.sql")))
"""Marts by name: one SQL file each."""

_FILES = ("*.yml", "docs/*", "seeds/*", "models/**/*", "macros/*", "data_tests/**/*")


def path(home: Home) -> Path:
    """The manifest's file."""
    return home.dbt_target / "manifest.json"


def load(home: Home) -> dict[str, Any]:
    """The parsed manifest."""
    parsed: dict[str, Any] = json.loads(path(home).read_text())
    return parsed


def relations(parsed: dict[str, Any]) -> set[str]:
    """Relations that the project builds, as `schema/name`."""
    return {
        f"{node['schema']}/{node['alias']}" for node in parsed["nodes"].values() if node["resource_type"] in BUILDABLE
    }


def node_ids(parsed: dict[str, Any]) -> set[str]:
    """Ids of everything that a run of the project has a result for."""
    return {key for key, node in parsed["nodes"].items() if node["resource_type"] in (*BUILDABLE, "test")} | set(
        parsed["unit_tests"]
    )


def may_be_empty(parsed: dict[str, Any]) -> set[str]:
    """Names of the marts that some warehouses have no rows for, as their yml says (`meta: may_be_empty`)."""
    return {node["name"] for node in parsed["nodes"].values() if node["config"].get("meta", {}).get("may_be_empty")}


def bring_up_to_date(home: Home) -> str | None:
    """Parse the dbt project if that is needed; returns dbt's words where it cannot be parsed, and None otherwise."""
    stamp = home.dbt_target / "manifest.stamp"
    wanted = _identity()
    if path(home).exists() and stamp.exists() and stamp.read_text() == wanted:
        return None
    stamp.unlink(missing_ok=True)
    said = run_dbt("parse")
    if said is not None:
        return f"dbt cannot read the project in dbt/; mend what it names and run again.\n{said}"
    stamp.write_text(wanted)
    return None


def _identity() -> str:
    """What the manifest is made from: the project's place and files, and dbt itself."""
    dbt = "/".join(importlib.metadata.version(name) for name in ("dbt-core", "dbt-duckdb"))
    return f"{DBT_PROJECT} {dbt} {versions.of_files(*_FILES, root=DBT_PROJECT)}"
