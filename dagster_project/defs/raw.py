"""Landing: parts into the raw tables of the warehouse."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import dagster as dg

from dagster_project.defs.jobs import RunHome
from dagster_project.lib import keys
from dagster_project.lib.automation import PARTS_CHANGED
from dagster_project.lib.failures import as_dagster_failure
from warehouse import connection, landing
from warehouse.contracts import (
    LAB_TABLES,
    LEADERBOARD_TABLES,
    PERFORMANCE_TABLES,
    RACE_TABLES,
    RESPONSE_TABLES,
    SCORE_TABLES,
    STUDY_TABLES,
    TABLES,
    Table,
)
from warehouse.contracts.studies import BENCHMARK_RESULTS

VERSION = keys.version_of_files("warehouse/contracts/*.py", "warehouse/landing.py", "warehouse/part_files.py")

GPU_TABLES = {name: table for name, table in TABLES.items() if name not in STUDY_TABLES | PERFORMANCE_TABLES}
_WRITERS = {
    **dict.fromkeys(SCORE_TABLES, (keys.COMPLETION_REWARDS, keys.HUB_REWARDS, keys.SCORE_IMPORTS)),
    **dict.fromkeys(RESPONSE_TABLES, (keys.RESPONSES, keys.RESPONSE_IMPORTS, keys.POLICY_RUNS)),
    **dict.fromkeys(("policy_runs", "policy_run_steps", "policy_run_policies"), (keys.POLICY_RUNS,)),
    "reward_sources": (
        keys.COMPLETION_REWARDS,
        keys.HUB_REWARDS,
        keys.SCORE_IMPORTS,
        keys.RESPONSE_IMPORTS,
        keys.GOLD_REWARDS,
        keys.POLICY_RUNS,
    ),
    "response_rewards": (
        keys.COMPLETION_REWARDS,
        keys.HUB_REWARDS,
        keys.RESPONSE_IMPORTS,
        keys.GOLD_REWARDS,
        keys.POLICY_RUNS,
    ),
    **dict.fromkeys(("response_checks", "gold_rewards"), (keys.GOLD_REWARDS,)),
    "documents": (keys.DOCUMENTS,),
    "document_scores": (keys.DOCUMENT_SCORES,),
    **dict.fromkeys(RACE_TABLES, (keys.RACES,)),
    "run_costs": keys.GPU_PARTS,
    "planned_costs": (keys.DOCUMENT_SCORES,),
    **dict.fromkeys(LAB_TABLES, (keys.LAB,)),
    **dict.fromkeys(LEADERBOARD_TABLES, (keys.LEADERBOARDS,)),
}


def _after_studies(table: str) -> Sequence[dg.AssetKey]:
    """Parts that a table of GPU work is landed from; the study files decide which of them are set aside."""
    return [keys.STUDIES, *_WRITERS.get(table, (keys.REWARD_MODELS,))]


def _of_studies(table: str) -> Sequence[dg.AssetKey]:
    """Parts that a table of the study files is landed from."""
    return [keys.STUDIES, *((keys.BENCHMARKS, keys.BENCHMARK_IMPORTS) if table == BENCHMARK_RESULTS.name else ())]


def landing_assets(
    name: str, tables: Mapping[str, Table], writers: Callable[[str], Sequence[dg.AssetKey]], group: str = "raw"
) -> dg.AssetsDefinition:
    """One op that lands the newest part of every partition into each of `tables`. writers: the parts of a table."""

    @dg.multi_asset(
        name=name,
        specs=[
            dg.AssetSpec(
                key=["raw", table.name],
                deps=writers(table.name),
                group_name=group,
                owners=["team:warehouse"],
                kinds={"duckdb"},
                code_version=VERSION,
                description=table.description,
                automation_condition=PARTS_CHANGED,
            )
            for table in tables.values()
        ],
        pool=keys.WAREHOUSE_POOL,
        can_subset=True,
    )
    def land(context: dg.AssetExecutionContext, run_home: RunHome) -> Iterator[dg.MaterializeResult]:
        home = run_home.home
        with as_dagster_failure(), connection.write(home.warehouse) as warehouse:
            parts = home.at_one_look().parts
            landing.create_raw_tables(warehouse, parts)
            rows = {
                key.path[-1]: landing.land_newest(warehouse, tables[key.path[-1]], parts)
                for key in sorted(context.selected_asset_keys)
            }
        for table_name, n_rows in rows.items():
            context.log.info(f"raw.{table_name}: {n_rows} rows")
            yield dg.MaterializeResult(
                asset_key=["raw", table_name],
                metadata={"dagster/row_count": n_rows, "dagster/table_name": f"raw.{table_name}"},
            )

    return land


land_studies = landing_assets("land_studies", STUDY_TABLES, _of_studies)
land_gpu_work = landing_assets("land_gpu_work", GPU_TABLES, _after_studies)
land_performance = landing_assets("land_performance", PERFORMANCE_TABLES, lambda _: [keys.PERFORMANCE], "predictions")
