"""The dbt project as Dagster assets: groups by folder, versions that see tests, macros and imported Python."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import shutil
from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_dbt import DbtCliInvocation, DbtCliResource, DbtProject, DbtProjectComponent
from dagster_dbt.errors import DagsterDbtCliRuntimeError
from packaging.version import Version

from dagster_project.environment import DBT_PROJECT
from dagster_project.lib import manifest, versions
from dagster_project.lib.automation import INPUTS_CHANGED
from dagster_project.lib.failures import told
from dagster_project.lib.progress import BUILT
from warehouse import connection
from warehouse.dbt_nodes import relations
from warehouse.paths import Home

SETTINGS = ("dbt_project.yml", "profiles.yml", "macros/*.sql", "data_tests/generic/*.sql")
IMPORTED = ("models_train/selection/*.py", "models_train/mix/*.py", "models_train/synthetic/checks/*.py")
"""What dbt's Python models import."""
MOST_NAMED = 10
OP_NAME = "dbt_warehouse"
KEPT_INVOCATIONS = 6
CHECKED = dg.AssetDep(["raw", "study_seeds"])
FOLDERS_AS_GROUPS = {"seeds", "staging", "intermediate", "marts"}


class WarehouseDbt(DbtProjectComponent):
    """The dbt project of the warehouse."""

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Definitions from the project as it stands, with a manifest that is up to date.

        The base class would copy the whole project beside the definitions and run that copy from then on.
        """
        message = manifest.bring_up_to_date(Home.from_environment())
        if message:
            raise dg.DagsterInvalidDefinitionError(message)
        self.code_versions: dict[str, str] = {}
        return self.build_defs_from_state(context, state_path=None)

    def get_asset_spec(self, manifest: Mapping[str, Any], unique_id: str, project: DbtProject | None) -> dg.AssetSpec:
        """The asset of a dbt node, in the group named as its folder."""
        spec = super().get_asset_spec(manifest, unique_id, project)
        node = self.get_resource_props(manifest, unique_id)
        folder = Path(node["original_file_path"]).parent.name
        if unique_id.startswith("source.") or folder not in FOLDERS_AS_GROUPS:
            return spec
        # A seed is loaded only after it was checked, and its provenance landed.
        deps = [*spec.deps, CHECKED] if folder == "seeds" else spec.deps
        # dagster-dbt asks for the asset of a node again for each of its tests.
        if unique_id not in self.code_versions:
            self.code_versions[unique_id] = code_version(manifest, node)
        return spec.replace_attributes(
            deps=deps,
            group_name=folder,
            owners=["team:warehouse"],
            code_version=self.code_versions[unique_id],
            automation_condition=INPUTS_CHANGED,
        )

    def execute(self, context: dg.AssetExecutionContext, dbt: DbtCliResource) -> Iterator:
        """Run dbt; each asset carries its number of rows. A failure names the nodes that failed and what they say.

        Assets are logged as dbt finishes them and yielded at the end: their rows can only be counted when dbt has let
        go of the database. (dagster-dbt's own way of counting leaves the file open in this process.)
        """
        built = {key.path[-1] for key in context.selected_asset_keys}
        home = Home.from_environment()
        parsed = manifest.load(home)
        with told(), connection.read(home.warehouse) as warehouse:
            existing = set(relations(warehouse))
        tests = tests_of(parsed, built, existing)
        select = ["--select", " ".join(tests)] if tests else []
        # Otherwise dagster-dbt runs `dbt --version` for it: two seconds, and a question to the network each time.
        vars(dbt)["_cli_version"] = Version(importlib.metadata.version("dbt-core"))
        # And it would load dbt and its macros into this process, to ask for columns, which nothing here does.
        vars(dbt)["_initialize_dbt_core_adapter"] = lambda arguments: None
        invocation = dbt.cli([*self.get_cli_args(context), *select], context=context)
        events, failure = [], None
        try:
            for event in invocation.stream():
                if isinstance(event, dg.Output):
                    context.log.info(BUILT + context.asset_key_for_output(event.output_name).to_user_string())
                events.append(event)
        except DagsterDbtCliRuntimeError as error:
            failure = dg.Failure(description=failures_in_words(invocation, error), allow_retries=False)
        rows = table_rows(home)
        forget_old_invocations(home)
        for event in events:
            yield _with_rows(context, event, rows)
        if failure is not None:
            raise failure


def tests_of(parsed: Mapping[str, Any], built: Set[str], existing: Set[str]) -> list[str]:
    """Names of the tests to run with the models and seeds named `built`: their unit tests, and every data test that
    looks at one of them or at a source that they read, and otherwise only at relations that exist (`schema/name`).

    dbt's own choices run too few tests (none that also looks at a model outside the selection) or too many (those of
    models that are built later in the same run).
    """
    nodes, sources = parsed["nodes"], parsed["sources"]
    buildable = {key: node for key, node in nodes.items() if node["resource_type"] in manifest.BUILDABLE}
    touched = {key for key, node in buildable.items() if node["name"] in built}
    touched |= {parent for key in touched for parent in _parents(nodes[key]) if parent in sources}
    names = [test["name"] for test in parsed["unit_tests"].values() if test["model"] in built]
    for node in nodes.values():
        if node["resource_type"] == "test" and touched & set(_parents(node)):
            others = [nodes.get(key) or sources[key] for key in _parents(node) if key not in touched]
            if all(f"{other['schema']}/{other['name']}" in existing for other in others):
                names.append(node["name"])
    return sorted(names)


def _parents(node: Mapping[str, Any]) -> list[str]:
    return list(node.get("depends_on", {}).get("nodes", []))


def forget_old_invocations(home: Home, keep: int = KEPT_INVOCATIONS) -> None:
    """Remove all but the newest folders of compiled SQL and logs: dagster-dbt makes one per invocation.

    dbt also writes its graph as a pickle, which nothing reads; none is left lying about.
    """
    for pickled in home.dbt_target.rglob("*.gpickle"):
        pickled.unlink(missing_ok=True)
    folders = [path for path in home.dbt_target.glob(f"{OP_NAME}*-*") if path.is_dir()]
    for folder in sorted(folders, key=lambda path: path.stat().st_mtime)[:-keep]:
        shutil.rmtree(folder, ignore_errors=True)


def table_rows(home: Home) -> dict[str, int]:
    """Number of rows of every table of the warehouse, by `schema/table`."""
    with told(), connection.read(home.warehouse) as warehouse:
        named = warehouse.execute(
            "select schema_name, table_name from duckdb_tables() where database_name = current_database()"
        ).fetchall()
        return {
            f"{schema}/{table}": warehouse.table(f"{connection.identifier(schema)}.{connection.identifier(table)}")
            .count("*")
            .fetchall()[0][0]
            for schema, table in named
        }


def _with_rows(context: dg.AssetExecutionContext, event: Any, rows: Mapping[str, int]) -> Any:
    if not isinstance(event, dg.Output):
        return event
    name = context.asset_key_for_output(event.output_name).to_user_string()
    return event.with_metadata({**event.metadata, "dagster/row_count": rows[name]}) if name in rows else event


def failures_in_words(invocation: DbtCliInvocation, error: Exception) -> str:
    """Which models and tests failed, one per line with dbt's message; without results (dbt could not even
    parse the project), dbt's own words."""
    try:
        results = invocation.get_artifact("run_results.json")["results"]
    except (OSError, KeyError, ValueError):
        return str(error)
    lines = [
        f"- {result['unique_id'].split('.', 2)[-1]}: {' '.join((result['message'] or 'failed').split())}"
        for result in results
        if result["status"] in ("error", "fail", "runtime error")
    ]
    if not lines:
        return str(error)
    shown = lines[:MOST_NAMED] + ([f"- ... and {len(lines) - MOST_NAMED} more"] if len(lines) > MOST_NAMED else [])
    return "dbt: these models and tests failed; the published snapshot stays as it was.\n" + "\n".join(shown)


def code_version(parsed: Mapping[str, Any], node: Mapping[str, Any]) -> str:
    """12 hex digits over all that makes a node what it is.

    Its own code or file; its columns, description and settings; the tests that look at it or at a source of its, unit
    tests included; the macros and settings of the project; and, for a Python model, the modules that it may import.
    """
    own = {name: node.get(name) for name in ("raw_code", "checksum", "description", "columns", "config")}
    looked_at = {node["unique_id"], *(key for key in _parents(node) if key in parsed["sources"])}
    tests = [
        json.dumps([test["raw_code"], test.get("test_metadata"), test["config"]], sort_keys=True, default=str)
        for test in parsed["nodes"].values()
        if test["resource_type"] == "test" and looked_at & set(_parents(test))
    ]
    tests += [
        json.dumps([test["name"], test["given"], test["expect"], test.get("overrides")], sort_keys=True, default=str)
        for test in parsed["unit_tests"].values()
        if test["model"] == node["name"]
    ]
    shared = versions.of_files(*SETTINGS, root=DBT_PROJECT)
    imported = versions.of_files(*IMPORTED) if node.get("language") == "python" else ""
    whole = json.dumps([own, sorted(tests), shared, imported], sort_keys=True, default=str)
    return hashlib.sha256(whole.encode()).hexdigest()[:12]
