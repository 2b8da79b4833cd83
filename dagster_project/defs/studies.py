"""Study files and seeds, checked, as Parquet parts; and the models of a hub that studies ask for. Opens no database."""

import dagster as dg

from dagster_project.defs.jobs import RunHome
from dagster_project.environment import SEEDS, STUDIES
from dagster_project.lib import keys
from dagster_project.lib.due import studies_without_parts, study_files, study_version
from dagster_project.lib.failures import as_dagster_failure
from dagster_project.lib.jobs import run_for_studies
from dagster_project.lib.study_plan import LEAVE_OUT, follow_models, write_study_parts
from warehouse.part_files import retire_parts


@dg.asset(
    key=keys.STUDIES,
    group_name="studies",
    owners=["team:studies"],
    kinds={"python", "parquet"},
    code_version=study_version(),
    description="The study files and the seeds that they name, checked whole and written as parts: "
    "studies, size groups with their default models, base models, sources.",
)
def study_parts(context: dg.AssetExecutionContext, run_home: RunHome) -> dg.MaterializeResult:
    """Check every study file and its seeds; write one part per raw table and study."""
    home = run_home.home
    with as_dagster_failure(context):
        files = study_files()
        studies = list(files.values())
        # A run that is executed again keeps its tags: a study that was published since then follows its file.
        leave_out = studies_without_parts(home, files).intersection(context.run.tags.get(LEAVE_OUT, "").split(","))
        written = write_study_parts(STUDIES, SEEDS, home.parts, leave_out)
        retired = retire_parts(home.parts, {study.study_id for study in studies})
        moved = follow_models(home.parts, studies)
        added, gone = keys.update_partitions(context.instance, studies)
    for key in added:
        context.log.info(f"{key}: new model")
    for key in gone:
        context.log.info(f"{key}: retired, no study file names this model any more")
    for name in retired:
        context.log.info(f"{name}: set aside, its study has no file any more")
    for message in moved:
        context.log.info(message)
    for facts in written:
        context.log.info(f"{facts.study_id}: {facts.n_compared} models compared, {facts.n_seeds} seeds")
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": sum(facts.n_rows for facts in written),
            "studies": [facts.study_id for facts in written],
            "models_compared": {facts.study_id: facts.n_compared for facts in written},
            "seed_rows": {facts.study_id: facts.n_seed_rows for facts in written},
        }
    )


@dg.asset(
    key=keys.HUB_MODELS,
    # Nothing depends on it: its answer is part of a study and is read with the study file.
    group_name="studies",
    owners=["team:studies"],
    kinds={"python"},
    code_version=keys.version_of_files("models_train/study/hub*.py", "models_train/jobs/find_models.py"),
    description="Base models that a hub has for the studies which query it: publishers or collections, within a size "
    "limit, a list of licences and a least number of downloads. If the hub cannot be reached, the last answer stays.",
)
def hub_models(
    context: dg.AssetExecutionContext, run_home: RunHome, pipes: dg.PipesSubprocessClient
) -> dg.MaterializeResult:
    """Run `models_train.jobs.find_models` for every study with a group `hub`."""
    with as_dagster_failure(context):
        paths = [path for path, study in study_files().items() if study.hub]
    return run_for_studies(context, pipes, run_home.home, keys.HUB_MODELS, "find_models", paths)
