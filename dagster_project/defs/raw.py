"""Landing: parts into the raw tables of the warehouse."""

from collections.abc import Iterator

import dagster as dg

from dagster_project import versions
from dagster_project.defs import base_models
from dagster_project.defs.resources import RunHome
from dagster_project.failures import told
from warehouse import connection, landing
from warehouse.contracts import TABLES

VERSION = versions.of_files("warehouse/contracts.py", "warehouse/landing.py")


@dg.multi_asset(
    name="land_studies",
    specs=[
        dg.AssetSpec(
            key=["raw", table.name],
            deps=[base_models.KEY],
            group_name="raw",
            owners=["team:warehouse"],
            kinds={"duckdb"},
            code_version=VERSION,
            description=table.description,
        )
        for table in TABLES.values()
    ],
    pool="warehouse",
)
def land_studies(context: dg.AssetExecutionContext, run_home: RunHome) -> Iterator[dg.MaterializeResult]:
    """Put the newest part of every study into each raw table; rows of the same study are replaced."""
    home = run_home.home
    with told(), connection.write(home.warehouse) as warehouse:
        landing.create_raw_tables(warehouse, home.parts)
        rows = {
            name: sum(landing.land(warehouse, table, part) for part in landing.newest_parts(home.parts, table).values())
            for name, table in TABLES.items()
        }
    for name, n_rows in rows.items():
        context.log.info(f"raw.{name}: {n_rows} rows")
        yield dg.MaterializeResult(
            asset_key=["raw", name],
            metadata={"dagster/row_count": n_rows, "dagster/table_name": f"raw.{name}"},
        )
