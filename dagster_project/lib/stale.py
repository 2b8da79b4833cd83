"""Stale assets: which assets without partitions have to be materialized again, and why.

Two sources of reasons: Dagster's records (code versions, and the data version of each input that was read), and what
Dagster cannot know, whether the files and tables of its assets are still there and sound.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import dagster as dg

from dagster_project.lib import keys
from dagster_project.lib.dbt import MARTS, load_manifest, models_to_build_for, relations_of, result_ids
from dagster_project.lib.due import (
    CODE_VERSION,
    Studies,
    golds_due,
    imports_due,
    leaderboards_due,
    responses_due,
    scores_due,
    studies_without_parts,
    study_files,
)
from models_train.study.fingerprints import LocationError
from models_train.study.yaml_lines import StudyError
from warehouse.checksums import damage, damage_of_pictures
from warehouse.connection import (
    Connection,
    WarehouseBusy,
    WarehouseDamaged,
    WarehouseError,
    WarehouseMissing,
    read,
    read_every_block,
)
from warehouse.contracts import PERFORMANCE_TABLES, STUDY_TABLES, TABLES, Table
from warehouse.contracts.studies import BENCHMARK_RESULTS
from warehouse.dbt_nodes import SCHEMAS, problems, relations
from warehouse.landing import unlanded
from warehouse.part_files import LandingError, newest_parts
from warehouse.paths import Home
from warehouse.publish import PublishRefused, refuse_unfit, snapshot_problem
from warehouse.publish_remote import remote_problem
from warehouse.reports import CHARTS_FOLDER, PAGE_NAME

DATA_VERSION = "dagster/data_version"
INPUT_DATA_VERSION = "dagster/input_data_version/"

Reasons = dict[dg.AssetKey, str]
"""Assets with the reason why they are stale."""


def stale_assets(
    home: Home, instance: dg.DagsterInstance, specs: Iterable[dg.AssetSpec], leave_out: Set[str] = frozenset()
) -> Reasons:
    """Assets without partitions to materialize, upstream first, by records and by files.

    leave_out: studies that may be missing in the warehouse. Raises WarehouseBusy if another program keeps the
    warehouse from being read.
    """
    specs = [spec for spec in specs if spec.partitions_def is None]
    stale = stale_by_records(specs, instance, missing_outputs(home, specs, leave_out))
    if stale and home.warehouse.exists():
        # Every block that a step may read; where nothing is stale, nothing will be read.
        try:
            with read(home.warehouse) as connection:
                read_every_block(connection)
        except WarehouseDamaged:
            return _all_anew(home, specs)
    return stale


def stale_by_records(
    specs: Iterable[dg.AssetSpec], instance: dg.DagsterInstance, known: Mapping[dg.AssetKey, str]
) -> Reasons:
    """Assets to materialize, upstream first. An asset that depends on a stale one is stale.

    specs: the assets of the code location that have no partitions. known: assets that are stale for a reason that
    Dagster does not record. Inputs outside `specs` are skipped: an asset with partitions has one data version for
    each, of which Dagster records a hash; `known` covers what such assets make.
    """
    by_key = {spec.key: spec for spec in specs}
    inputs = {
        key: sorted(dep.asset_key for dep in spec.deps if dep.asset_key in by_key) for key, spec in by_key.items()
    }
    tags = _latest_tags(instance, by_key)
    stale: Reasons = {}
    for key in TopologicalSorter(inputs).static_order():
        reason = known.get(key) or _recorded_reason(by_key[key], inputs[key], tags, stale)
        if reason:
            stale[key] = reason
    return stale


def _recorded_reason(
    spec: dg.AssetSpec,
    inputs: list[dg.AssetKey],
    tags: Mapping[dg.AssetKey, Mapping[str, str]],
    stale: Mapping[dg.AssetKey, str],
) -> str | None:
    own = tags.get(spec.key)
    if own is None:
        return "Dagster has no record of it"
    if spec.code_version is not None and own.get(CODE_VERSION) != spec.code_version:
        return "its definition or its file changed"
    for parent in inputs:
        if parent in stale:
            return f"{parent.to_user_string()} is made again"
        read_version = own.get(INPUT_DATA_VERSION + parent.to_user_string())
        made = tags.get(parent, {}).get(DATA_VERSION)
        if made is not None and read_version != made:
            return f"{parent.to_user_string()} changed since"
    return None


def _latest_tags(instance: dg.DagsterInstance, asset_keys: Iterable[dg.AssetKey]) -> Mapping[dg.AssetKey, Any]:
    """Tags of the latest materialization of each asset that has one; one query for all of them."""
    tags = {}
    for record in instance.get_asset_records(list(asset_keys)):
        event = record.asset_entry.last_materialization
        if event is not None and event.asset_materialization is not None:
            tags[record.asset_entry.asset_key] = event.asset_materialization.tags or {}
    return tags


def missing_outputs(home: Home, specs: Sequence[dg.AssetSpec], leave_out: Set[str] = frozenset()) -> Reasons:
    """Assets whose files or tables are missing, damaged or older than their parts.

    All assets, if the warehouse is missing or cannot be opened (then it is set aside first); the producers of parts
    that are missing or unreadable; missing tables; what dbt failed to build or to test; report and snapshot, if their
    files are missing. Raises WarehouseBusy if another program keeps the warehouse from being read.
    """
    home = home.at_one_look()
    try:
        with read(home.warehouse) as connection:
            stale = dict(_in_warehouse(connection, home, specs))
    except WarehouseBusy:
        raise
    except WarehouseError as error:
        if not isinstance(error, WarehouseMissing):
            return _all_anew(home, specs)
        # Parts are no part of it: due work makes those that are missing.
        return dict.fromkeys(
            (spec.key for spec in specs if spec.key not in keys.INPUT_PARTS), "there is no warehouse yet"
        )
    return dict(_in_files(home, leave_out)) | stale


def _all_anew(home: Home, specs: Sequence[dg.AssetSpec]) -> Reasons:
    """Set the damaged warehouse aside, with its journal; all assets."""
    aside = home.warehouse.with_name(f"{home.warehouse.name}.broken-{time.strftime('%Y%m%dT%H%M%S')}")
    home.warehouse.rename(aside)
    journal = Path(f"{home.warehouse}.wal")
    if journal.exists():
        journal.rename(f"{aside}.wal")
    reason = f"the warehouse is damaged and was set aside as {aside.name}"
    return dict.fromkeys((spec.key for spec in specs), reason)


def _in_files(home: Home, leave_out: Set[str]) -> Iterator[tuple[dg.AssetKey, str]]:
    # A study has benchmark results only where something writes them.
    of_studies = {name: table for name, table in STUDY_TABLES.items() if table is not BENCHMARK_RESULTS}
    for tables, producer in ((of_studies, keys.STUDIES), (PERFORMANCE_TABLES, keys.PERFORMANCE)):
        try:
            present = {
                frozenset(part.study_id for part in newest_parts(home.parts, table)) for table in tables.values()
            }
        except LandingError as error:
            yield producer, str(error)
        else:
            if len(present) != 1 or not next(iter(present)):
                yield producer, "some of its parts are missing"
    try:
        studies = study_files()
        if without := studies_without_parts(home, studies) - leave_out:
            yield keys.STUDIES, f"the study {min(without)} has no parts yet"
        yield from _imports(home, studies)
    except StudyError:
        pass  # the asset of the study files reads them again and reports it
    if not (home.root / "inputs" / "performance").exists():
        yield keys.PERFORMANCE_INPUTS, "its files are missing"
    if problem := damage(home.reports, home.reports / PAGE_NAME):
        yield keys.REPORT, f"of the report, {problem}"
    if problem := damage_of_pictures(home.reports / CHARTS_FOLDER):
        yield keys.CHARTS, f"of the charts, {problem}"
    if problem := snapshot_problem(home) or remote_problem(home):
        yield keys.SNAPSHOT, problem


def _imports(home: Home, studies: Studies) -> Iterator[tuple[dg.AssetKey, str]]:
    for key, is_due, reason in (
        (keys.BENCHMARK_IMPORTS, imports_due, "result files of benchmarks were added or changed"),
        (keys.LEADERBOARDS, leaderboards_due, "files of leaderboards were added or changed"),
        (keys.SCORE_IMPORTS, scores_due, "score files or benchmarks of reward models were added or changed"),
        (keys.RESPONSE_IMPORTS, responses_due, "files of responses were added or changed"),
        (keys.GOLD_REWARDS, golds_due, "gold rewards of responses are missing"),
    ):
        try:
            if is_due(studies, home):
                yield key, reason
        except LocationError as error:
            yield key, str(error)


def _in_warehouse(
    connection: Connection, home: Home, specs: Sequence[dg.AssetSpec]
) -> Iterator[tuple[dg.AssetKey, str]]:
    manifest = load_manifest(home)
    present = relations(connection)
    wanted = {f"raw/{name}" for name in TABLES} | relations_of(manifest)
    dbt = {spec.key for spec in specs if spec.key.path[0] in SCHEMAS}
    found = connection.execute("select current_database()").fetchone()
    database, nodes = found[0] if found else "", result_ids(manifest)
    try:
        refuse_unfit(connection, database, MARTS, nodes)
    except PublishRefused:
        in_the_way = {problem.node_id for problem in problems(connection, database, nodes) if problem.node_id}
        built_for = [_assets_for(manifest, node) for node in in_the_way & nodes]
        # A test that reads nothing may fail because of any asset.
        again = set().union(*built_for) & dbt if in_the_way and all(built_for) else dbt
        yield from ((key, "a test of the last run failed or did not run") for key in again)
        if in_the_way - nodes:
            yield keys.REPORT, "results of removed tests are still in the warehouse"
    for name, table in TABLES.items():
        if f"raw/{name}" in present and _has_new_parts(connection, table, home):
            yield dg.AssetKey(["raw", name]), "its rows are not those of the newest parts"
    for spec in specs:
        name = spec.key.to_user_string()
        if name in wanted and name not in present:
            yield spec.key, "its table is missing"


def _assets_for(manifest: Mapping[str, Any], node_id: str) -> set[dg.AssetKey]:
    nodes = manifest["nodes"]
    return {dg.AssetKey([nodes[key]["schema"], nodes[key]["alias"]]) for key in models_to_build_for(manifest, node_id)}


def _has_new_parts(connection: Connection, table: Table, home: Home) -> bool:
    """True where parts and table differ, or where a part cannot be read: then landing reports which."""
    try:
        return unlanded(connection, table, home.parts)
    except LandingError:
        return True
