"""Asset checks beside dbt's tests: the result tables are complete, and their scores are means."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from dagster_project.defs.jobs import RunHome
from dagster_project.lib import keys
from dagster_project.lib.failures import as_dagster_failure
from warehouse import checks, connection

RESULTS = dg.AssetKey(["marts", "fct_reward_model_results"])
PRESENCE = dg.AssetKey(["marts", "fct_presence_by_domain"])
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
            description=f"Within {checks.TOLERANCE_POINTS} points, which rounding to one decimal allows.",
        ),
    ],
    pool=keys.WAREHOUSE_POOL,
)
def result_tables_are_whole(run_home: RunHome) -> Iterator[dg.AssetCheckResult]:
    """Ask the warehouse, read-only."""
    with as_dagster_failure(), connection.read(run_home.home.warehouse) as warehouse:
        incomplete = checks.incomplete_result_tables(warehouse)
        off = checks.scores_off_the_mean(warehouse)
        counts = checks.result_counts(warehouse)
    yield _result("every_compared_model_has_a_result", incomplete, {"results": counts})
    yield _result("score_is_the_mean_of_the_categories", off, {})


@dg.asset_check(
    asset=PRESENCE,
    name="every_document_was_scored",
    description="Share of the sampled documents that could not be scored, by model: empty or broken ones, mostly.",
    pool=keys.WAREHOUSE_POOL,
)
def every_document_was_scored(run_home: RunHome) -> dg.AssetCheckResult:
    """Ask the warehouse, read-only; only warn, because each such document is a row with its reason."""
    with as_dagster_failure(), connection.read(run_home.home.warehouse) as warehouse:
        shares = checks.unscored_documents(warehouse)
    return dg.AssetCheckResult(
        passed=not shares,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"shares": shares, "largest_share": max(shares.values(), default=0.0)},
        description="; ".join(f"{model}: {share:.2%} not scored" for model, share in list(shares.items())[:5]) or None,
    )


def _result(name: str, problems: list[str], metadata: dict[str, Any]) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=RESULTS,
        check_name=name,
        passed=not problems,
        metadata={**metadata, "problems": problems},
        description="; ".join(problems[:5]) or None,
    )
