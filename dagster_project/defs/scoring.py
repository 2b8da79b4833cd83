"""Log-prob scoring: the sampled documents of each study under each of its base models."""

import dagster as dg

from dagster_project.defs.jobs import RunHome
from dagster_project.lib import keys
from dagster_project.lib.due import study_files
from dagster_project.lib.failures import JOB_RETRIES, as_dagster_failure
from dagster_project.lib.jobs import job_command, model_of, nothing_to_do, run_job, with_costs
from models_train.study.fingerprints import SCORING_VERSION, scoring_run_id

VERSION = f"scoring-{SCORING_VERSION}"


@dg.asset(
    key=keys.DOCUMENT_SCORES,
    deps=[keys.DOCUMENTS],
    partitions_def=keys.BASE_MODEL_PARTITIONS,
    group_name="scoring",
    owners=["team:scoring"],
    kinds={"torch", "parquet"},
    pool=keys.GPU_POOL,
    retry_policy=JOB_RETRIES,
    code_version=VERSION,
    description="Log-probabilities of the sampled documents under each base model, shard by shard (definitions, "
    "Section 7).",
)
def document_scores(
    context: dg.AssetExecutionContext, run_home: RunHome, pipes: dg.PipesSubprocessClient
) -> dg.MaterializeResult:
    """Run `models_train.jobs.score_documents` for the partition; finished shards are skipped."""
    with as_dagster_failure(context):
        path, study, model = model_of(study_files(), context.partition_key)
    if study.scoring is None:
        return nothing_to_do(f"{path.name} scores no documents; add a group `scoring` to it")
    done = run_job(context, pipes, job_command("score_documents", path, run_home.home, model))
    run_id = scoring_run_id(study.by_id[model], study.scoring, path.parent)
    return with_costs(done.get_materialize_result(), run_home.home, study, run_id)
