"""The dbt project as Dagster assets: groups, code versions that see tests, macros and imported Python, row counts."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg
from dagster_dbt import DbtCliInvocation, DbtCliResource, DbtProject, DbtProjectComponent
from dagster_dbt.errors import DagsterDbtCliRuntimeError
from packaging.version import Version

from dagster_project.environment import DBT_PROJECT, SEEDS
from dagster_project.lib import dbt as dbt_project
from dagster_project.lib.automation import INPUTS_CHANGED
from dagster_project.lib.failures import as_dagster_failure
from dagster_project.lib.keys import version_of_files
from models_train.errors import UserError, listed
from models_train.files import disk_problem, sha256
from models_train.machine import KILLED, out_of_memory
from models_train.processes import end_processes, tree
from warehouse import connection
from warehouse.contracts import PERFORMANCE_TABLES
from warehouse.dbt_nodes import relations
from warehouse.paths import Home

SETTINGS = ("dbt_project.yml", "profiles.yml", "macros/*.sql", "data_tests/generic/*.sql")
IMPORTED = (
    "models_train/selection/*.py",
    "models_train/synthetic/checks.py",
    "models_train/synthetic/resampling.py",
)
"""Modules that dbt's Python models import."""
MOST_NAMED = 10
"""Most failed models and tests that an error names."""
OP_NAME = "dbt_warehouse"
KEPT_INVOCATIONS = 6
"""Number of folders of compiled SQL and logs kept."""
ROWS_SAID = re.compile(r"rows: (\d+)")
"""What dbt's macro `say_rows` says of a table."""
SEEDS_CHECKED = dg.AssetDep(["raw", "study_seeds"])
GROUPED_FOLDERS = {"seeds", "staging", "intermediate", "marts"}
AFTER_SELECTION = "predictions"
"""Group of the models that depend on the performance model, in any folder."""


class WarehouseDbt(DbtProjectComponent):
    """The dbt project of the warehouse."""

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Definitions from the project in place, with an up-to-date manifest.

        The base class would copy the whole project beside the definitions and run that copy from then on.
        """
        home = Home.from_environment()
        try:
            dbt_project.update_manifest(home)
        except UserError as error:
            raise dg.DagsterInvalidDefinitionError(str(error)) from error
        self.code_versions: dict[str, str] = {}
        parsed = dbt_project.load_manifest(home)
        predictions = {key for key, source in parsed["sources"].items() if source["name"] in PERFORMANCE_TABLES}
        self.after_selection = dbt_project.descendants(parsed, predictions)
        return self.build_defs_from_state(context, state_path=None)

    def get_asset_spec(self, manifest: Mapping[str, Any], unique_id: str, project: DbtProject | None) -> dg.AssetSpec:
        """The asset of a dbt node: its group is its folder, or `predictions`."""
        spec = super().get_asset_spec(manifest, unique_id, project)
        node = self.get_resource_props(manifest, unique_id)
        folder = _folder(node)
        if unique_id.startswith("source.") or folder not in GROUPED_FOLDERS:
            return spec
        # A seed is loaded only after it was checked, and its provenance landed.
        deps = [*spec.deps, SEEDS_CHECKED] if folder == "seeds" else spec.deps
        # dagster-dbt asks for the asset of a node again for each of its tests.
        if unique_id not in self.code_versions:
            self.code_versions[unique_id] = code_version(manifest, node)
        return spec.replace_attributes(
            deps=deps,
            group_name=AFTER_SELECTION if unique_id in self.after_selection else folder,
            owners=["team:warehouse"],
            code_version=self.code_versions[unique_id],
            automation_condition=INPUTS_CHANGED,
        )

    def execute(self, context: dg.AssetExecutionContext, dbt: DbtCliResource) -> Iterator:
        """Run dbt; each asset is recorded with its number of rows as dbt finishes it, while dbt goes on.

        A failure names the models and tests that failed.
        """
        built = {key.path[-1] for key in context.selected_asset_keys}
        home = Home.from_environment()
        manifest = dbt_project.load_manifest(home)
        existing: set[str] = set()
        if home.warehouse.exists():  # a node that reads nothing may come before the first landing
            with as_dagster_failure(), connection.read(home.warehouse) as warehouse:
                existing = set(relations(warehouse))
                refuse_edited_seeds(warehouse, built)
        tests = dbt_project.tests_of(manifest, built, existing - self._rebuilt_later(context, manifest, built))
        invocation = self._start(context, home, [*sorted(built), *tests])
        try:
            yield from self._events(context, invocation, manifest)
        except DagsterDbtCliRuntimeError as error:
            raise dg.Failure(description=failure_message(invocation, error, home), allow_retries=False) from error
        except (dg.DagsterExecutionInterruptedError, KeyboardInterrupt, GeneratorExit):
            end_processes(tree(invocation.process.pid))
            raise
        finally:
            remove_old_invocations(home, invocation.target_path)

    def _events(
        self, context: dg.AssetExecutionContext, invocation: DbtCliInvocation, manifest: Mapping[str, Any]
    ) -> Iterator:
        """Dagster's events of dbt's messages, in their order. A table's rows are said before its result."""
        rows: dict[str, int] = {}
        for message in invocation.stream_raw_events():
            node = message.raw_event["data"].get("node_info", {}).get("unique_id")
            said = ROWS_SAID.fullmatch(message.raw_event["info"]["msg"])
            if said and node:
                rows[node] = int(said[1])
            found = message.to_default_asset_events(
                manifest, self.translator, context, invocation.target_path, self.dbt_project
            )
            for event in found:
                if isinstance(event, dg.Output) and node in rows:
                    yield event.with_metadata({**event.metadata, "dagster/row_count": rows[node]})
                else:
                    yield event

    def _rebuilt_later(
        self, context: dg.AssetExecutionContext, manifest: Mapping[str, Any], built: Set[str]
    ) -> set[str]:
        """Relations (`schema/name`) that this run builds again after the performance model, in its second dbt step.

        In the first step they still hold the last run's rows, perhaps of a model or study that was taken out since.
        """
        after = [manifest["nodes"][key] for key in self.after_selection]
        if any(node["name"] in built for node in after):
            return set()
        selected = context.job_def.asset_layer.selected_asset_keys  # of the whole run
        keys = {dg.AssetKey([node["schema"], node["alias"]]) for node in after}
        return {key.to_user_string() for key in keys & selected}

    def _start(self, context: dg.AssetExecutionContext, home: Home, selected: Sequence[str]) -> DbtCliInvocation:
        """Start dbt on the selected nodes.

        `DbtCliResource.cli` would run `dbt --version` first (two seconds, and a question to the network), and load
        dbt and its macros into this process to ask for columns, which nothing here does.
        """
        target = home.dbt_target / f"{OP_NAME}-{context.run.run_id[:7]}-{uuid4().hex[:7]}"
        settings = {
            "DBT_LOG_FORMAT": "json",
            "DBT_TARGET_PATH": str(target),
            "DBT_LOG_PATH": str(target),
            "DBT_PROFILES_DIR": str(DBT_PROJECT),
            "DBT_PROJECT_DIR": str(DBT_PROJECT),
            "PYTHONUNBUFFERED": "1",
        }
        return DbtCliInvocation.run(
            args=[*dbt_project.PROGRAM, *self.get_cli_args(context), "--select", " ".join(selected)],
            env=os.environ | settings,
            manifest=dbt_project.load_manifest(home),
            dagster_dbt_translator=self.translator,
            project_dir=DBT_PROJECT,
            target_path=target,
            raise_on_error=True,
            context=context,
            adapter=None,
            cli_version=Version(importlib.metadata.version("dbt-core")),
            dbt_project=self.dbt_project,
        )


def refuse_edited_seeds(warehouse: connection.Connection, built: Set[str]) -> None:
    """Raise UserError for a seed among `built` whose file is not the one that was checked."""
    seeds = {path.stem: path for path in SEEDS.glob("*.csv") if path.stem in built}
    checked = warehouse.execute("select seed, sha256 from raw.study_seeds").fetchall() if seeds else []
    edited = sorted({name for name, found in checked if name in seeds and sha256(seeds[name]) != found})
    if edited:
        raise UserError(
            f"dbt/seeds/{edited[0]}.csv was edited after this run had checked it; nothing is published. Run again: "
            "the next run checks it"
        )


def _folder(node: Mapping[str, Any]) -> str:
    return Path(node["original_file_path"].removeprefix("models/")).parts[0]


def remove_old_invocations(home: Home, present: Path, keep: int = KEPT_INVOCATIONS) -> None:
    """Remove all but the newest folders of compiled SQL and logs: there is one per invocation. present: of this one.

    dbt also writes its graph as a pickle, which nothing reads; it is removed.
    """
    for pickled in home.dbt_target.rglob("*.gpickle"):
        pickled.unlink(missing_ok=True)
    folders = [path for path in home.dbt_target.glob(f"{OP_NAME}*-*") if path.is_dir()]
    for folder in sorted(folders, key=lambda path: (path == present, path.stat().st_mtime))[:-keep]:
        shutil.rmtree(folder, ignore_errors=True)


def failure_message(invocation: DbtCliInvocation, error: Exception, home: Home) -> str:
    """The models and tests that failed, one per line with dbt's message; without results (dbt could not even parse
    the project, or open the warehouse), dbt's own error."""
    if invocation.process.returncode in KILLED:
        return out_of_memory("dbt")
    try:
        lines = list(dbt_project.failed_nodes(invocation.get_artifact("run_results.json")))
    except (OSError, KeyError, ValueError):
        lines = []
    if not lines:
        return own_error(str(error), home)
    if problem := disk_problem(RuntimeError("\n".join(lines)), home.warehouse):
        return problem
    shown = "\n".join(listed(lines, most=MOST_NAMED))
    return f"dbt: these models and tests failed; the published snapshot stays as it was.\n{shown}"


def own_error(message: str, home: Home) -> str:
    """dbt's error, from dagster-dbt's message, which begins with a command of hundreds of names."""
    text = message.partition("Errors parsed from dbt logs:")[2].strip() or message
    if connection.is_held(text):
        return connection.held(home.warehouse, text)
    return disk_problem(RuntimeError(text), home.warehouse) or f"dbt: {text}"


def code_version(manifest: Mapping[str, Any], node: Mapping[str, Any]) -> str:
    """12 hex digits over everything that a node is made from.

    Its own code or file; its columns, description and settings; the data tests that read it or one of its sources; the
    macros and settings of the project; and, for a Python model, the modules that it may import.
    """
    own = {name: node.get(name) for name in ("raw_code", "checksum", "description", "columns", "config")}
    tested: Set[str] = {node["unique_id"], *(key for key in dbt_project.parents(node) if key in manifest["sources"])}
    tests = [
        json.dumps([test["raw_code"], test.get("test_metadata"), test["config"]], sort_keys=True, default=str)
        for test in manifest["nodes"].values()
        if test["resource_type"] == "test" and tested & set(dbt_project.parents(test))
    ]
    shared = version_of_files(*SETTINGS, root=DBT_PROJECT)
    imported = version_of_files(*IMPORTED) if node.get("language") == "python" else ""
    whole = json.dumps([own, sorted(tests), shared, imported], sort_keys=True, default=str)
    return hashlib.sha256(whole.encode()).hexdigest()[:12]
