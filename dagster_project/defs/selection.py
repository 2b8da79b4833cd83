"""The performance model: features out of the warehouse, a job, parts back. The job opens no database."""

import json
import sys
from pathlib import Path

import dagster as dg
import polars as pl

from dagster_project.defs.jobs import RunHome
from dagster_project.lib import keys
from dagster_project.lib.automation import INPUTS_CHANGED
from dagster_project.lib.due import study_files
from dagster_project.lib.failures import as_dagster_failure
from dagster_project.lib.jobs import nothing_to_do
from models_train.files import atomic_path
from warehouse import connection

INPUTS = {
    "features": "select * from marts.fct_regression_features where study_id = $study order by model_id, feature",
    # Only results on the same pairs: others would look like worse or better models.
    "results": "select objective, model_id, chat, chat_hard, safety, reasoning, score, score_standard_error, "
    "score_standard_error_approximate, run_deviation, status = 'complete' as is_complete "
    "from marts.fct_reward_model_results where study_id = $study and is_comparable order by objective, model_id",
    "models": "select model_id, publisher, family, params_b, coalesce(base_model_id, model_id) as lineage "
    "from marts.dim_base_models "
    "where study_id = $study and (is_compared or is_candidate) order by model_id",
    "size_groups": "select size_group, params_b_from, params_b_below, default_model_id from raw.size_groups "
    "where study_id = $study order by position",
    # Every pipeline of every compared model: offsets between pipelines are estimated again inside each fold.
    "pipeline_values": "select model_id, feature, pipeline, measured_value from intermediate.int_pipeline_values "
    "inner join marts.dim_base_models using (study_id, model_id) where study_id = $study and is_compared "
    "order by feature, pipeline, model_id",
}
"""Query of each input of the performance model; they become Parquet files, one folder per study."""


@dg.asset(
    key=keys.PERFORMANCE_INPUTS,
    deps=[
        ["marts", "fct_regression_features"],
        ["marts", "fct_reward_model_results"],
        ["marts", "dim_base_models"],
        ["marts", "dim_benchmarks"],
        ["raw", "size_groups"],
        ["intermediate", "int_pipeline_values"],
    ],
    automation_condition=INPUTS_CHANGED,
    group_name="selection",
    owners=["team:selection"],
    kinds={"duckdb", "parquet"},
    pool=keys.WAREHOUSE_POOL,
    code_version=keys.version_of_files("dagster_project/defs/selection.py"),
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
    inputs = home.root / "inputs" / "performance"
    with as_dagster_failure():
        studies = study_files().values()
    if not any(inputs.glob("*/")):
        return nothing_to_do("no study has base models, so there are no scores to predict")
    settings = {
        "--targets": {study.study_id: list(study.predicted_targets) for study in studies},
        "--folds": {study.study_id: study.folds for study in studies},
        "--others": {study.study_id: list(study.also_learn_from) for study in studies},
    }
    command = [sys.executable, "-m", "models_train.jobs.fit_performance_model"]
    folders = ["--inputs", str(inputs), "--parts", str(home.parts)]
    flags = [word for flag, by_study in settings.items() for word in (flag, json.dumps(by_study))]
    done = pipes.run(command=[*command, *folders, *flags], context=context)
    for message in done.get_custom_messages():
        raise dg.Failure(description=message["failure"], allow_retries=False)
    return done.get_materialize_result()


def write_inputs(warehouse: connection.Connection, folder: Path) -> dict[str, int]:
    """Write `<folder>/<study>/<name>.parquet` and `study.json` for every study of base models; returns rows per study.

    The folder is replaced whole, so a removed study leaves no inputs behind.
    """
    rows = {}
    with atomic_path(folder) as fresh:
        fresh.mkdir()
        with_models = (
            "select study_id, answer_benchmark from marts.dim_studies "
            "where study_id in (select study_id from marts.fct_regression_features) order by study_id"
        )
        for study, benchmark in warehouse.execute(with_models).fetchall():
            (fresh / study).mkdir()
            frames = {name: _frame(warehouse, query, study) for name, query in INPUTS.items()}
            for name, frame in frames.items():
                frame.write_parquet(fresh / study / f"{name}.parquet")
            facts = {"aggregates": _aggregates(warehouse, study), "benchmark": benchmark}
            (fresh / study / "study.json").write_text(json.dumps(facts))
            rows[study] = sum(frame.height for frame in frames.values())
    return rows


def _frame(warehouse: connection.Connection, query: str, study: str) -> pl.DataFrame:
    return warehouse.execute(query, {"study": study}).pl()


def _aggregates(warehouse: connection.Connection, study: str) -> list[str]:
    """Benchmarks that are averages of others: as features they would count those twice."""
    found = warehouse.execute(
        "select benchmark from marts.dim_benchmarks where study_id = ? and topic = 'Aggregate' order by benchmark",
        [study],
    ).fetchall()
    return [name for (name,) in found]
