"""Publish: write a snapshot of the marts, audit it, move the pointer."""

import dagster as dg

from dagster_project.defs.jobs import RunHome
from dagster_project.lib import keys
from dagster_project.lib.automation import FRESHNESS, INPUTS_CHANGED
from dagster_project.lib.dbt import MARTS, load_manifest, may_be_empty, result_ids
from dagster_project.lib.failures import WAREHOUSE_RETRIES, as_dagster_failure
from warehouse.publish import publish

FILES = ("warehouse/publish.py", "warehouse/content_id.py", "warehouse/checks.py", "warehouse/dbt_nodes.py")
VERSION = f"{keys.version_of_files(*FILES)}-{keys.version_of_names(MARTS)}"


@dg.asset(
    key=keys.SNAPSHOT,
    deps=[keys.REPORT, *(["marts", name] for name in MARTS)],
    group_name="publish",
    owners=["team:warehouse"],
    kinds={"duckdb"},
    pool=keys.WAREHOUSE_POOL,
    retry_policy=WAREHOUSE_RETRIES,
    automation_condition=INPUTS_CHANGED,
    freshness_policy=FRESHNESS,
    code_version=VERSION,
    description="Read-only copy of the marts that readers open, behind an atomic pointer. Refused, with the old one "
    "left in place, while a test fails or is older than its models.",
)
def snapshot(context: dg.AssetExecutionContext, run_home: RunHome) -> dg.MaterializeResult:
    """Publish the marts unless they equal what is published already."""
    home = run_home.home
    manifest = load_manifest(home)
    with as_dagster_failure():
        published = publish(
            home, may_be_empty=may_be_empty(manifest), required=MARTS, expected_nodes=result_ids(manifest)
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
