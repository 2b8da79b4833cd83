"""The performance model: features out of the warehouse, a job, parts back. The job opens no database."""

import json
import sys

import dagster as dg

from dagster_project.defs.jobs import RunHome
from dagster_project.lib import keys
from dagster_project.lib.automation import INPUTS_CHANGED
from dagster_project.lib.due import study_files
from dagster_project.lib.failures import WAREHOUSE_RETRIES, as_dagster_failure
from warehouse import connection
from warehouse.performance_inputs import write_inputs


@dg.asset(
    key=keys.PERFORMANCE_INPUTS,
    deps=[
        ["marts", "fct_regression_features"],
        ["marts", "fct_reward_model_results"],
        ["marts", "dim_base_models"],
        ["marts", "dim_benchmarks"],
        ["raw", "size_groups"],
    ],
    automation_condition=INPUTS_CHANGED,
    group_name="selection",
    owners=["team:selection"],
    kinds={"duckdb", "parquet"},
    pool=keys.WAREHOUSE_POOL,
    retry_policy=WAREHOUSE_RETRIES,
    code_version=keys.version_of_files("warehouse/performance_inputs.py", "dagster_project/defs/selection.py"),
    description="Inputs of the performance model, per study, as Parquet: features, results, models, size groups.",
)
def performance_inputs(run_home: RunHome) -> dg.MaterializeResult:
    """Write the inputs of every study; the database is open only while they are read."""
    home = run_home.home
    with as_dagster_failure(), connection.read(home.warehouse) as warehouse:
        rows = write_inputs(warehouse, home.root / "inputs" / "performance")
    return dg.MaterializeResult(metadata={"dagster/row_count": sum(rows.values()), "rows_by_study": rows})


@dg.asset(
    key=keys.PERFORMANCE,
    deps=[keys.PERFORMANCE_INPUTS],
    automation_condition=INPUTS_CHANGED,
    group_name="selection",
    owners=["team:selection"],
    kinds={"scikitlearn", "parquet"},
    code_version=keys.version_of_files(
        "models_train/selection/*.py",
        "models_train/jobs/fit_performance_model.py",
        "models_train/parts.py",
        "warehouse/contracts/fields.py",
        "warehouse/contracts/performance.py",
    ),
    description="Predictions by the paper's protocol and by nested leave-publisher-out, coefficients, errors with "
    "intervals, capability components and recommendations, as parts (paper, section 4.2, Appendix F).",
)
def performance(
    context: dg.AssetExecutionContext, run_home: RunHome, pipes: dg.PipesSubprocessClient
) -> dg.MaterializeResult:
    """Run the job `models_train.jobs.fit_performance_model` over all studies."""
    home = run_home.home
    with as_dagster_failure():
        studies = study_files().values()
    targets = {study.study_id: list(study.predicted_targets) for study in studies}
    command = [sys.executable, "-m", "models_train.jobs.fit_performance_model"]
    folders = ["--inputs", str(home.root / "inputs" / "performance"), "--parts", str(home.parts)]
    done = pipes.run(command=[*command, *folders, "--targets", json.dumps(targets)], context=context)
    for message in done.get_custom_messages():
        raise dg.Failure(description=message["failure"], allow_retries=False)
    return done.get_materialize_result()
