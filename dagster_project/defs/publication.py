"""What readers get: the report, its charts as pictures, and the published snapshot of the marts."""

import base64
import struct
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from dagster_project.defs.jobs import RunHome
from dagster_project.lib import keys
from dagster_project.lib.automation import FRESHNESS, INPUTS_CHANGED
from dagster_project.lib.dbt import MARTS, load_manifest, may_be_empty, relations_of, result_ids
from dagster_project.lib.failures import as_dagster_failure
from warehouse import connection, dbt_nodes
from warehouse.content_id import content_id
from warehouse.paths import Home
from warehouse.publish import publish, refuse_unfit
from warehouse.publish_remote import publish_address, publish_remote
from warehouse.reports import CHARTS_FOLDER

if TYPE_CHECKING:
    from warehouse.reports.page import Report

REPORT_VERSION = f"{keys.version_of_files('warehouse/reports/**/*')}-{keys.version_of_names(MARTS)}"
PUBLISHING = ("warehouse/publish.py", "warehouse/content_id.py", "warehouse/checks.py", "warehouse/dbt_nodes.py")
SNAPSHOT_VERSION = f"{keys.version_of_files(*PUBLISHING)}-{keys.version_of_names(MARTS)}"


@dg.asset(
    key=keys.REPORT,
    deps=[["marts", name] for name in MARTS],
    group_name="reports",
    owners=["team:reports"],
    kinds={"altair", "html"},
    pool=keys.WAREHOUSE_POOL,
    automation_condition=INPUTS_CHANGED,
    code_version=REPORT_VERSION,
    description="Which base model to train a reward model on, as one offline page.",
)
def base_model_choice(context: dg.AssetExecutionContext, run_home: RunHome) -> dg.MaterializeResult:
    """Render the report from the marts; every file is replaced whole."""
    home = run_home.home
    parsed = load_manifest(home)
    with as_dagster_failure():
        with connection.write(home.warehouse) as warehouse:
            dropped = dbt_nodes.drop_removed(warehouse, relations_of(parsed), result_ids(parsed))
        with connection.read(home.warehouse) as warehouse:
            report, snapshot_id = _build(warehouse, home, result_ids(parsed))
    for name in dropped:
        context.log.info(f"{name} dropped: not in the dbt project any more")
    context.log.info(f"{report.path}: {report.n_sections} sections, {len(report.charts)} charts")
    return dg.MaterializeResult(
        metadata={
            "page": dg.MetadataValue.path(str(report.path)),
            "snapshot": dg.MetadataValue.text(snapshot_id),
            "charts": dg.MetadataValue.int(len(report.charts)),
        }
    )


@dg.asset(
    key=keys.CHARTS,
    deps=[keys.REPORT],
    group_name="reports",
    owners=["team:reports"],
    kinds={"altair"},
    automation_condition=INPUTS_CHANGED,
    code_version=keys.version_of_files("warehouse/reports/export.py"),
    description="Each chart of the report as SVG and PNG.",
)
def charts(run_home: RunHome) -> dg.MaterializeResult:
    """Draw the charts from the specifications that the report wrote; every file is replaced whole."""
    from warehouse.reports.export import draw_pictures  # with the drawing library

    with as_dagster_failure():
        pictures = draw_pictures(run_home.home.reports / CHARTS_FOLDER)
    metadata: dict[str, dg.MetadataValue] = {"charts": dg.MetadataValue.int(len(pictures))}
    for picture in pictures[:1]:
        metadata["preview"] = dg.MetadataValue.md(f"![{picture.stem}]({_data_url(picture)})")
    return dg.MaterializeResult(metadata=metadata)


@dg.asset(
    key=keys.SNAPSHOT,
    deps=[keys.REPORT, *(["marts", name] for name in MARTS)],
    group_name="publish",
    owners=["team:warehouse"],
    kinds={"duckdb"},
    pool=keys.WAREHOUSE_POOL,
    automation_condition=INPUTS_CHANGED,
    freshness_policy=FRESHNESS,
    code_version=SNAPSHOT_VERSION,
    description="Read-only copy of the marts that readers open, behind an atomic pointer. Refused, with the old one "
    "left in place, while a test fails or is older than its models.",
)
def snapshot(context: dg.AssetExecutionContext, run_home: RunHome) -> dg.MaterializeResult:
    """Publish the marts unless they equal what is published already."""
    home = run_home.home
    manifest = load_manifest(home)
    with as_dagster_failure():
        published = publish(
            home, may_be_empty=may_be_empty(manifest, home), required=MARTS, expected_nodes=result_ids(manifest)
        )
        remote = publish_remote(home)
    context.log.info(f"{published.id}: {'published' if published.changed else 'unchanged'}")
    if remote is not None:
        context.log.info(f"{remote.name}: in {publish_address()}")
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": published.n_rows,
            "tables": published.n_tables,
            "snapshot": published.id,
            "changed": published.changed,
            "pointer": dg.MetadataValue.path(str(home.current)),
            "file": dg.MetadataValue.path(str(published.path)),
        }
    )


def _build(warehouse: connection.Connection, home: Home, expected_nodes: set[str]) -> "tuple[Report, str]":
    """The report, if the marts may be published: it must not show content that a snapshot is refused for."""
    from warehouse.reports.page import build_report  # with the drawing library, which no other step needs

    database = warehouse.execute("select current_database()").fetchone()
    refuse_unfit(warehouse, database[0] if database else "", MARTS, expected_nodes)
    snapshot_id = content_id(warehouse)
    return build_report(warehouse, home.reports, snapshot_id, datetime.now(UTC)), snapshot_id


def _data_url(picture: Path) -> str:
    """The PNG inside an SVG without a fixed width, which the UI shows as wide as its column."""
    content = picture.read_bytes()
    width, height = struct.unpack(">II", content[16:24])  # of the header that begins every PNG
    image = f'<image width="{width}" height="{height}" href="data:image/png;base64,{_base64(content)}"/>'
    drawing = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">{image}</svg>'
    return f"data:image/svg+xml;base64,{_base64(drawing.encode())}"


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
