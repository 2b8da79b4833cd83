"""What Dagster cannot know: whether the files that its assets stand for are still there and still sound."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from warehouse.connection import WarehouseError, read
from warehouse.home import Home
from warehouse.publish import current_snapshot
from warehouse.publish_gate import PublishRefused, check_gate

PARTS = dg.AssetKey(["parts", "studies"])
REPORT = dg.AssetKey(["reports", "base_model_choice"])
SNAPSHOT = dg.AssetKey(["published", "snapshot"])
DBT_GROUPS = ("seeds", "staging", "intermediate", "marts")


def assets_to_redo(home: Home, specs: Sequence[dg.AssetSpec]) -> dict[dg.AssetKey, str]:
    """Assets that must run again although their records look right, each with the reason.

    Everything, if the warehouse is gone; dbt's assets, if a test of theirs failed last time; report and snapshot, if
    their file is gone.
    """
    if not home.warehouse.exists() or not any(home.parts.rglob("*.parquet")):
        return dict.fromkeys((spec.key for spec in specs), "the warehouse or its parts are not there")
    redo: dict[dg.AssetKey, str] = {}
    if not _tests_hold(home):
        because = "its tests failed or did not run"
        redo.update({spec.key: because for spec in specs if spec.group_name in DBT_GROUPS})
    if not (home.reports / "base_model_choice.html").exists():
        redo[REPORT] = "the page is not there"
    if current_snapshot(home) is None:
        redo[SNAPSHOT] = "there is no published snapshot"
    return redo


def _tests_hold(home: Home) -> bool:
    try:
        with read(home.warehouse) as connection:
            database = connection.execute("select current_database()").fetchone()
            check_gate(connection, database[0] if database else "")
    except (PublishRefused, WarehouseError):
        return False
    return True
