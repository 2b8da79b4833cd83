"""Publish: write a snapshot of the marts, audit it, move the pointer."""

from datetime import timedelta

import dagster as dg

from dagster_project.defs import reports
from dagster_project.defs.resources import RunHome
from dagster_project.lib import manifest, versions
from dagster_project.lib.automation import INPUTS_CHANGED, SNAPSHOT
from dagster_project.lib.failures import WAREHOUSE_RETRIES, told
from warehouse.publish import publish

KEY = SNAPSHOT
FILES = ("warehouse/publish.py", "warehouse/content_id.py", "warehouse/checks.py", "warehouse/dbt_nodes.py")
VERSION = f"{versions.of_files(*FILES)}-{versions.of_names(manifest.MARTS)}"
FRESHNESS = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=36), warn_window=timedelta(hours=26))
"""The nightly refresh always comes to the snapshot: one that nobody looked at for longer is stale."""


@dg.asset(
    key=KEY,
    deps=[reports.KEY, *(["marts", name] for name in manifest.MARTS)],
    group_name="publish",
    owners=["team:warehouse"],
    kinds={"duckdb"},
    pool="warehouse",
    retry_policy=WAREHOUSE_RETRIES,
    automation_condition=INPUTS_CHANGED,
    freshness_policy=FRESHNESS,
    code_version=VERSION,
    description="Read-only copy of the marts that readers open, behind an atomic pointer. Refused, with the old one "
    "left in place, while a test fails or is older than what it tests.",
)
def snapshot(context: dg.AssetExecutionContext, run_home: RunHome) -> dg.MaterializeResult:
    """Publish the marts unless they equal what is published already."""
    home = run_home.home
    parsed = manifest.load(home)
    with told():
        published = publish(
            home,
            may_be_empty=manifest.may_be_empty(parsed),
            required=manifest.MARTS,
            expected_nodes=manifest.node_ids(parsed),
        )
    context.log.info(f"{published.id}: {'published' if published.changed else 'unchanged'}")
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
