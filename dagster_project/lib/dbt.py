"""The dbt project: running dbt as a program, its manifest, and the marts that it builds."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import Any

from dagster_project.environment import DBT_PROJECT
from dagster_project.lib.keys import version_of_files
from models_train.errors import UserError
from models_train.machine import KILLED, out_of_memory
from models_train.store import Store
from warehouse.contracts.studies import STUDIES as STUDY_TABLE
from warehouse.paths import REPOSITORY, Home

BUILDABLE = ("model", "seed", "snapshot")
MARTS = tuple(sorted(path.stem for path in (DBT_PROJECT / "models" / "marts").glob("*.sql")))
"""Marts by name: one SQL file each."""
PUBLISHED = "published"
"""The study whose figures are the seeds."""
NEVER_EMPTY = {"dim_studies"}
"""Marts that every study has rows in."""

_PROJECT_FILES = ("*.yml", "docs/*", "seeds/*", "models/**/*", "macros/*", "data_tests/**/*")


PROGRAM = [sys.executable, "-m", "dbt.cli.main"]
"""dbt with this Python. The script `dbt` names the Python that it was installed by, which a moved checkout lacks."""


def run_dbt(*command: str, places: Mapping[str, str] | None = None) -> str | None:
    """Run a command of dbt quietly; returns dbt's messages where it fails, and None otherwise.

    places: environment variables beside this process's own, such as where dbt writes.
    """
    projects = ["--project-dir", str(DBT_PROJECT), "--profiles-dir", str(DBT_PROJECT)]
    done = subprocess.run(
        [*PROGRAM, "--quiet", "--no-use-colors", *command, *projects],
        cwd=REPOSITORY,  # dbt's Python models import the project's packages
        env=os.environ | (places or {}),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return None
    if done.returncode in KILLED:
        return out_of_memory("dbt")
    return (done.stdout + done.stderr).strip() or f"exit status {done.returncode}"


def manifest_path(home: Home) -> Path:
    """The file of dbt's manifest, from which Dagster reads the dbt project."""
    return home.dbt_target / "manifest.json"


def load_manifest(home: Home) -> dict[str, Any]:
    """The parsed manifest."""
    parsed: dict[str, Any] = json.loads(manifest_path(home).read_text())
    return parsed


def update_manifest(home: Home) -> None:
    """Parse the dbt project if it changed since the last time. Raises UserError with dbt's messages."""
    stamp = home.dbt_target / "manifest.stamp"
    wanted = _project_version()
    if manifest_path(home).exists() and stamp.exists() and stamp.read_text() == wanted:
        return
    stamp.unlink(missing_ok=True)
    messages = run_dbt("parse")
    if messages is not None:
        raise UserError(f"dbt cannot read the project in dbt/; correct the files below and run again.\n{messages}")
    stamp.write_text(wanted)


def _project_version() -> str:
    """Version of the inputs of the manifest: path (dbt finds seeds by it) and files of the project, and dbt itself."""
    dbt = "/".join(importlib.metadata.version(name) for name in ("dbt-core", "dbt-duckdb"))
    return f"{DBT_PROJECT} {dbt} {version_of_files(*_PROJECT_FILES, root=DBT_PROJECT)}"


def relations_of(manifest: Mapping[str, Any]) -> set[str]:
    """Relations that the project builds, as `schema/name`."""
    return {
        f"{node['schema']}/{node['alias']}" for node in manifest["nodes"].values() if node["resource_type"] in BUILDABLE
    }


def result_ids(manifest: Mapping[str, Any]) -> set[str]:
    """Ids of the nodes that a run of the project has a result for: models, seeds and data tests.

    Unit tests look at the code on rows of their own, not at the data: the project's tests run them, as dbt advises.
    """
    return {key for key, node in manifest["nodes"].items() if node["resource_type"] in (*BUILDABLE, "test")}


def may_be_empty(manifest: Mapping[str, Any], home: Home) -> set[str]:
    """Names of the marts that a snapshot may publish without a row: those with `meta: may_be_empty` in their yml.

    The published study has figures for all others; where it is not among the studies, they may be empty, too.
    """
    if not Store.at(home.parts).list(f"{STUDY_TABLE.name}/{PUBLISHED}"):
        return set(MARTS) - NEVER_EMPTY
    return {node["name"] for node in manifest["nodes"].values() if node["config"].get("meta", {}).get("may_be_empty")}


def parents(node: Mapping[str, Any]) -> list[str]:
    """Ids of the nodes and sources that a node or test reads."""
    return list(node.get("depends_on", {}).get("nodes", []))


def tests_of(manifest: Mapping[str, Any], built: Set[str], existing: Set[str]) -> list[str]:
    """Names of the data tests to run with the models and seeds named `built`: those that read one of them or a source
    of theirs, and otherwise only relations that exist (`schema/name`).

    dbt's own choices run too few tests (none that also reads a model outside the selection) or too many (those of
    models that are built later in the same run).
    """
    nodes, sources = manifest["nodes"], manifest["sources"]
    buildable = {key: node for key, node in nodes.items() if node["resource_type"] in BUILDABLE}
    touched = {key for key, node in buildable.items() if node["name"] in built}
    touched |= {parent for key in touched for parent in parents(nodes[key]) if parent in sources}
    names = []
    for node in nodes.values():
        if node["resource_type"] == "test" and touched & set(parents(node)):
            others = [nodes.get(key) or sources[key] for key in parents(node) if key not in touched]
            if all(f"{other['schema']}/{other['name']}" in existing for other in others):
                names.append(node["name"])
    return sorted(names)


def models_to_build_for(manifest: Mapping[str, Any], node_id: str) -> set[str]:
    """Ids of the models and seeds to build so that a node gets a new result: itself, or those that a test reads.

    A test of a source runs with the models that read that source. Empty for a test that reads nothing.
    """
    nodes = {key: node for key, node in manifest["nodes"].items() if node["resource_type"] in BUILDABLE}
    if node_id in nodes:
        return {node_id}
    read = set(parents(manifest["nodes"].get(node_id, {})))
    sources = read & manifest["sources"].keys()
    return (read & nodes.keys()) | {key for key, node in nodes.items() if sources & set(parents(node))}


def descendants(manifest: Mapping[str, Any], roots: Set[str]) -> set[str]:
    """Ids of the models that follow from the nodes and sources `roots`, directly or through others."""
    found: set[str] = set()
    waiting = list(roots)
    while waiting:
        for child in manifest["child_map"].get(waiting.pop(), ()):
            if child in manifest["nodes"] and child not in found:
                found.add(child)
                waiting.append(child)
    return found


def failed_nodes(results: Mapping[str, Any]) -> Iterator[str]:
    """A line for each model and test that failed, with dbt's message. results: of `run_results.json`."""
    for result in results["results"]:
        if result["status"] in ("error", "fail", "runtime error"):
            yield f"- {result['unique_id'].split('.', 2)[-1]}: {' '.join((result['message'] or 'failed').split())}"
