"""Benchmarks: run on each base model through lm-evaluation-harness, and read from a user's own result files."""

import dagster as dg

from dagster_project.defs.jobs import RunHome
from dagster_project.lib import keys
from dagster_project.lib.due import study_files
from dagster_project.lib.failures import JOB_RETRIES, as_dagster_failure
from dagster_project.lib.jobs import job_command, model_of, nothing_to_do, run_for_studies, run_job, with_costs
from models_train.study.fingerprints import BENCHMARK_VERSION, benchmark_run_id

VERSION = f"benchmarks-{BENCHMARK_VERSION}"


@dg.asset(
    key=keys.BENCHMARKS,
    deps=[keys.STUDIES],
    partitions_def=keys.BASE_MODEL_PARTITIONS,
    group_name="benchmarks",
    owners=["team:scoring"],
    kinds={"torch", "parquet"},
    pool=keys.GPU_POOL,
    retry_policy=JOB_RETRIES,
    code_version=VERSION,
    description="The benchmarks of a study, run on each of its base models through lm-evaluation-harness.",
)
def benchmarks(
    context: dg.AssetExecutionContext, run_home: RunHome, pipes: dg.PipesSubprocessClient
) -> dg.MaterializeResult:
    """Run `models_train.jobs.run_benchmarks` for the partition."""
    with as_dagster_failure(context):
        path, study, model = model_of(study_files(), context.partition_key)
    if model not in study.benchmarked_model_ids:
        return nothing_to_do(f"{path.name} runs no benchmarks on {model}; list tasks under `benchmarks`")
    assert study.benchmarks is not None
    done = run_job(context, pipes, job_command("run_benchmarks", path, run_home.home, model))
    run_id = benchmark_run_id(study.by_id[model], study.benchmarks, path.parent)
    return with_costs(done.get_materialize_result(), run_home.home, study, run_id)


@dg.asset(
    key=keys.BENCHMARK_IMPORTS,
    # No dependency on parts/studies, although it reads the same files: Dagster would split the dbt run for it.
    group_name="benchmarks",
    owners=["team:scoring"],
    kinds={"python", "parquet"},
    code_version=VERSION,
    description="Benchmark values from result files that studies name: of lm_eval (--output_path) and of EvalPlus.",
)
def benchmark_imports(
    context: dg.AssetExecutionContext, run_home: RunHome, pipes: dg.PipesSubprocessClient
) -> dg.MaterializeResult:
    """Run `models_train.jobs.import_benchmarks` for every study that imports results."""
    with as_dagster_failure(context):
        paths = [path for path, study in study_files().items() if study.benchmarks and study.benchmarks.imports]
    return run_for_studies(context, pipes, run_home.home, keys.BENCHMARK_IMPORTS, "import_benchmarks", paths)
