"""Study files and seeds, checked, as Parquet parts. Opens no database."""

import dagster as dg

from dagster_project import versions
from dagster_project.defs.resources import RunHome
from dagster_project.environment import SEEDS, STUDIES
from dagster_project.failures import told
from dagster_project.study_parts import write_study_parts
from warehouse.landing import retire_parts

KEY = dg.AssetKey(["parts", "studies"])


@dg.asset(
    key=KEY,
    group_name="studies",
    owners=["team:studies"],
    kinds={"python", "parquet"},
    code_version=versions.of_files(
        "dagster_project/studies/*.yaml",
        "dbt/seeds/*.csv",
        "dagster_project/study_parts.py",
        "models_train/*.py",
        "warehouse/contracts.py",
        "warehouse/seed*.py",
    ),
    description="The study files and the seeds that they name, checked whole and written as parts: "
    "studies, size groups with their default models, base models, sources.",
)
def study_parts(context: dg.AssetExecutionContext, run_home: RunHome) -> dg.MaterializeResult:
    """Check every study file and its seeds; write one part per raw table and study."""
    with told():
        written = write_study_parts(STUDIES, SEEDS, run_home.home.parts)
        retired = retire_parts(run_home.home.parts, {facts.study_id for facts in written})
    for name in retired:
        context.log.info(f"{name}: its study has no file any more; its parts were set aside")
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
