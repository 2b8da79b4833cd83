"""The report: marts into one offline page, and each chart as SVG and PNG."""

import base64
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from dagster_project import versions
from dagster_project.defs.resources import RunHome
from dagster_project.failures import told
from dagster_project.marts import MARTS
from warehouse import connection
from warehouse.content import content_id
from warehouse.reports.page import build_report

KEY = dg.AssetKey(["reports", "base_model_choice"])


@dg.asset(
    key=KEY,
    deps=[["marts", name] for name in MARTS],
    group_name="reports",
    owners=["team:reports"],
    kinds={"altair", "html"},
    pool="warehouse",
    code_version=versions.of_files("warehouse/*marts.py", "warehouse/reports/**/*"),
    description="Which base model to train a reward model on: one offline page, and each chart as SVG and PNG.",
)
def base_model_choice(context: dg.AssetExecutionContext, run_home: RunHome) -> dg.MaterializeResult:
    """Render the report from the marts; every file is replaced whole."""
    home = run_home.home
    with told(), connection.read(home.warehouse) as warehouse:
        snapshot_id = content_id(warehouse)
        report = build_report(warehouse, home.reports, snapshot_id, datetime.now(UTC))
    metadata: dict[str, dg.MetadataValue] = {
        "page": dg.MetadataValue.path(str(report.path)),
        "snapshot": dg.MetadataValue.text(snapshot_id),
        "charts": dg.MetadataValue.int(len(report.charts)),
    }
    for name, picture in list(report.charts.items())[:1]:
        metadata["preview"] = dg.MetadataValue.md(f"![{name}]({_data_url(picture)})")
    context.log.info(f"{report.path}: {report.n_sections} sections, {len(report.charts)} charts")
    return dg.MaterializeResult(metadata=metadata)


def _data_url(picture: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode()
