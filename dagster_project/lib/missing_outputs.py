"""What Dagster cannot know: whether the files that its assets stand for are still there and still sound."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from dagster_project.defs import base_models, publish, reports, selection
from dagster_project.lib import manifest
from dagster_project.lib.due import BENCHMARK_IMPORTS, imports_due, study_files
from models_train.study.fingerprints import LocationError
from models_train.study.yaml_lines import StudyError
from warehouse.connection import Connection, WarehouseBusy, WarehouseError, WarehouseMissing, read
from warehouse.contracts import PERFORMANCE_TABLES, STUDY_TABLES, TABLES, Table
from warehouse.contracts.studies import BENCHMARK_RESULTS
from warehouse.dbt_nodes import SCHEMAS, problems, relations
from warehouse.landing import unlanded
from warehouse.part_files import LandingError, newest_parts
from warehouse.paths import Home
from warehouse.publish import PublishRefused, current_snapshot, refuse_unfit
from warehouse.reports.places import CHARTS_FOLDER, PAGE_NAME


def assets_to_redo(home: Home, specs: Sequence[dg.AssetSpec]) -> dict[dg.AssetKey, str]:
    """Assets that must run again although their records look right, each with the reason.

    Everything, if the warehouse is gone or no database any more (then it is set aside first); the producers of parts
    that are gone or unreadable; tables that are gone; what dbt failed to build, or to test; report and snapshot, if
    their files are gone. Raises WarehouseBusy if another program keeps the warehouse from being read.
    """
    try:
        with read(home.warehouse) as connection:
            redo = dict(_in_warehouse(connection, home, specs))
    except WarehouseBusy:
        raise
    except WarehouseError as error:
        what = "there is no warehouse yet"
        if not isinstance(error, WarehouseMissing):
            aside = home.warehouse.with_name(f"{home.warehouse.name}.broken-{time.strftime('%Y%m%dT%H%M%S')}")
            home.warehouse.rename(aside)
            what = f"the warehouse could not be opened and was set aside as {aside.name}"
        return dict.fromkeys((spec.key for spec in specs), what)
    return dict(_files(home)) | redo


def _files(home: Home) -> Iterator[tuple[dg.AssetKey, str]]:
    # A study has benchmark results only where something writes them.
    of_studies = {name: table for name, table in STUDY_TABLES.items() if table is not BENCHMARK_RESULTS}
    for tables, producer in ((of_studies, base_models.KEY), (PERFORMANCE_TABLES, selection.PARTS)):
        try:
            present = {
                frozenset(part.study_id for part in newest_parts(home.parts, table)) for table in tables.values()
            }
        except LandingError as error:
            yield producer, str(error)
        else:
            if len(present) != 1 or not next(iter(present)):
                yield producer, "some of its parts are not there"
    try:
        if imports_due(study_files(), home):
            yield BENCHMARK_IMPORTS, "result files of benchmarks have come or changed"
    except StudyError:
        pass  # the study files are read again, and reported, by their own asset
    except LocationError as error:
        yield BENCHMARK_IMPORTS, str(error)
    if not (home.root / "inputs" / "performance").exists():
        yield selection.INPUTS, "its files are not there"
    if not (home.reports / PAGE_NAME).exists() or not any((home.reports / CHARTS_FOLDER).glob("*.svg")):
        yield reports.KEY, "the page or its charts are not there"
    if current_snapshot(home) is None:
        yield publish.KEY, "there is no published snapshot"


def _in_warehouse(
    connection: Connection, home: Home, specs: Sequence[dg.AssetSpec]
) -> Iterator[tuple[dg.AssetKey, str]]:
    parsed: dict[str, Any] = manifest.load(home)
    present = relations(connection)
    wanted = {f"raw/{name}" for name in TABLES} | manifest.relations(parsed)
    dbt = {spec.key for spec in specs if spec.key.path[0] in SCHEMAS}
    found = connection.execute("select current_database()").fetchone()
    database, nodes = found[0] if found else "", manifest.node_ids(parsed)
    try:
        refuse_unfit(connection, database, manifest.MARTS, nodes)
    except PublishRefused:
        in_the_way = {problem.node_id for problem in problems(connection, database, nodes) if problem.node_id}
        found_for = [_built_for(parsed, node) for node in in_the_way & nodes]
        # What no asset can be blamed for may come from any.
        again = set().union(*found_for) & dbt if in_the_way and all(found_for) else dbt
        yield from ((key, "a test of the last run failed or did not run") for key in again)
        if in_the_way - nodes:
            yield reports.KEY, "results of tests that are gone are still there"
    for name, table in TABLES.items():
        if f"raw/{name}" in present and _has_news(connection, table, home):
            yield dg.AssetKey(["raw", name]), "its rows are not those of the newest parts"
    for spec in specs:
        name = spec.key.to_user_string()
        if name in wanted and name not in present:
            yield spec.key, "its table is not there"


def _built_for(parsed: Mapping[str, Any], node_id: str) -> set[dg.AssetKey]:
    """Assets to build so that a dbt node gets a new result: itself, or what it tests; none if it looks at nothing.

    A test of a source runs with the models that read that source.
    """
    nodes: dict[str, Any] = {
        key: node for key, node in parsed["nodes"].items() if node["resource_type"] in manifest.BUILDABLE
    }
    again = {node_id} & nodes.keys()
    if not again:
        test = parsed["nodes"].get(node_id) or parsed["unit_tests"].get(node_id) or {}
        looked_at = set(test.get("depends_on", {}).get("nodes", []))
        sources = looked_at & parsed["sources"].keys()
        again = looked_at & nodes.keys()
        again |= {name for name, node in nodes.items() if sources & set(node.get("depends_on", {}).get("nodes", []))}
    return {dg.AssetKey([nodes[key]["schema"], nodes[key]["alias"]]) for key in again}


def _has_news(connection: Connection, table: Table, home: Home) -> bool:
    """True where parts and table differ, or where a part cannot be read: then landing says which."""
    try:
        return unlanded(connection, table, home.parts)
    except LandingError:
        return True
