"""Landing: parts into the raw tables of the warehouse."""

from collections.abc import Iterator, Mapping

import dagster as dg

from dagster_project import versions
from dagster_project.defs import base_models, selection
from dagster_project.defs.resources import RunHome
from dagster_project.failures import told
from warehouse import connection, landing
from warehouse.contracts import PERFORMANCE_TABLES, STUDY_TABLES, Table

VERSION = versions.of_files("warehouse/contracts.py", "warehouse/landing.py")


def landing_assets(name: str, tables: Mapping[str, Table], parts: dg.AssetKey) -> dg.AssetsDefinition:
    """One op that lands the newest part of every study into each of `tables`; `parts` is the asset that made them."""

    @dg.multi_asset(
        name=name,
        specs=[
            dg.AssetSpec(
                key=["raw", table.name],
                deps=[parts],
                group_name="raw",
                owners=["team:warehouse"],
                kinds={"duckdb"},
                code_version=VERSION,
                description=table.description,
            )
            for table in tables.values()
        ],
        pool="warehouse",
    )
    def land(context: dg.AssetExecutionContext, run_home: RunHome) -> Iterator[dg.MaterializeResult]:
        home = run_home.home
        with told(), connection.write(home.warehouse) as warehouse:
            landing.create_raw_tables(warehouse, home.parts)
            rows = {table.name: landing.land_newest(warehouse, table, home.parts) for table in tables.values()}
        for table_name, n_rows in rows.items():
            context.log.info(f"raw.{table_name}: {n_rows} rows")
            yield dg.MaterializeResult(
                asset_key=["raw", table_name],
                metadata={"dagster/row_count": n_rows, "dagster/table_name": f"raw.{table_name}"},
            )

    return land


land_studies = landing_assets("land_studies", STUDY_TABLES, base_models.KEY)
land_performance = landing_assets("land_performance", PERFORMANCE_TABLES, selection.PARTS)
