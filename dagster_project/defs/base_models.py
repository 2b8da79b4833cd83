"""Study files and seeds, checked, as Parquet parts. Opens no database."""

import dagster as dg

from dagster_project.defs.resources import RunHome
from dagster_project.environment import SEEDS, STUDIES
from dagster_project.lib import versions
from dagster_project.lib.due import study_files
from dagster_project.lib.failures import told
from dagster_project.lib.partitions import bring_partitions_up_to_date
from dagster_project.lib.study_plan import follow_models, write_study_parts
from warehouse.part_files import retire_parts
from warehouse.paths import Home

KEY = dg.AssetKey(["parts", "studies"])
CODE = (
    "dbt/seeds/*.csv",
    "dagster_project/lib/study_plan.py",
    "models_train/study/*.py",
    "models_train/parts.py",
    "warehouse/contracts/*.py",
    "warehouse/seed*.py",
)


def version() -> str:
    """What study files, their hub's answers, seeds and the code are now; a process that runs long asks again."""
    found = versions.of_files("hub_models/*.json", root=Home.from_environment().root, may_be_none=True)
    return versions.of_files("*.yaml", root=STUDIES, may_be_none=True) + versions.of_files(*CODE) + found


@dg.asset(
    key=KEY,
    group_name="studies",
    owners=["team:studies"],
    kinds={"python", "parquet"},
    code_version=version(),
    description="The study files and the seeds that they name, checked whole and written as parts: "
    "studies, size groups with their default models, base models, sources.",
)
def study_parts(context: dg.AssetExecutionContext, run_home: RunHome) -> dg.MaterializeResult:
    """Check every study file and its seeds; write one part per raw table and study."""
    with told(context):
        written = write_study_parts(STUDIES, SEEDS, run_home.home.parts)
        retired = retire_parts(run_home.home.parts, {facts.study_id for facts in written})
        studies = list(study_files().values())
        moved = follow_models(run_home.home.parts, studies)
        added, gone = bring_partitions_up_to_date(context.instance, studies)
    for key in added:
        context.log.info(f"{key}: a new base model to work on")
    for key in gone:
        context.log.info(f"{key}: no study file names this base model any more; it is retired")
    for name in retired:
        context.log.info(f"{name}: its study has no file any more; its parts were set aside")
    for name in moved:
        context.log.info(name)
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
