"""Asset checks beside dbt's tests: the result tables are whole, and their scores are means."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from dagster_project.defs.resources import RunHome
from dagster_project.failures import told
from warehouse import audit, connection

RESULTS = dg.AssetKey(["marts", "fct_reward_model_results"])
BASE_MODELS = dg.AssetKey(["marts", "dim_base_models"])


@dg.multi_asset_check(
    specs=[
        dg.AssetCheckSpec(
            name="every_compared_model_has_a_result",
            asset=RESULTS,
            additional_deps=[BASE_MODELS],
            blocking=True,
            description="Each objective of a published study has one result per compared model (40); a study that "
            "trains its own reward models may lack some, and has none twice.",
        ),
        dg.AssetCheckSpec(
            name="score_is_the_mean_of_the_categories",
            asset=RESULTS,
            blocking=True,
            description=f"Within {audit.TOLERANCE_POINTS} points, which rounding to one decimal allows.",
        ),
    ],
    pool="warehouse",
)
def result_tables_are_whole(run_home: RunHome) -> Iterator[dg.AssetCheckResult]:
    """Ask the warehouse, read-only."""
    with told(), connection.read(run_home.home.warehouse) as warehouse:
        incomplete = audit.incomplete_result_tables(warehouse)
        off = audit.scores_off_the_mean(warehouse)
        counts = audit.result_counts(warehouse)
    yield _result("every_compared_model_has_a_result", incomplete, {"results": counts})
    yield _result("score_is_the_mean_of_the_categories", off, {})


def _result(name: str, problems: list[str], metadata: dict[str, Any]) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=RESULTS,
        check_name=name,
        passed=not problems,
        metadata={**metadata, "problems": problems},
        description="; ".join(problems[:5]) or None,
    )
