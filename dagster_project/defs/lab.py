"""Inputs of GPU jobs: the synthetic studies (labs), and the sample of documents of each study."""

from collections.abc import Iterator

import dagster as dg

from dagster_project.defs.jobs import RunHome
from dagster_project.lib import keys
from dagster_project.lib.due import labs_due, study_files
from dagster_project.lib.failures import as_dagster_failure
from dagster_project.lib.jobs import run_for_studies
from models_train.study.fingerprints import SCORING_VERSION
from models_train.study.lab import LAB_VERSION


# One op for both, without a dependency on parts/studies, whose files it reads, too: Dagster would split the dbt run.
@dg.multi_asset(
    name="make_inputs",
    specs=[
        dg.AssetSpec(
            key=keys.LAB,
            group_name="lab",
            owners=["team:training"],
            kinds={"torch", "parquet"},
            code_version=f"lab-{LAB_VERSION}",
            description="Synthetic: the base models, preferences, ratings, test set, documents and benchmarks of every "
            "lab, and the truth about them.",
        ),
        dg.AssetSpec(
            key=keys.DOCUMENTS,
            deps=[keys.LAB],
            group_name="scoring",
            owners=["team:scoring"],
            kinds={"python", "parquet"},
            code_version=f"scoring-{SCORING_VERSION}",
            description="A seeded sample of documents of each domain, the same on every machine (paper, Section 5.2).",
        ),
    ],
    can_subset=True,
)
def make_inputs(
    context: dg.AssetExecutionContext, run_home: RunHome, pipes: dg.PipesSubprocessClient
) -> Iterator[dg.MaterializeResult]:
    """Run `models_train.jobs.make_lab` for every lab, then `sample_documents` for every study that scores documents."""
    home = run_home.home
    with as_dagster_failure(context):
        studies = study_files()
    if keys.LAB in context.selected_asset_keys:
        paths = [path for path, study in studies.items() if study.lab]
        yield run_for_studies(context, pipes, home, keys.LAB, "make_lab", paths)
    if keys.DOCUMENTS in context.selected_asset_keys:
        # The documents of a lab that could not be made are not there; other studies do not wait for it.
        ready = [path for path, study in studies.items() if study.scoring and not labs_due({path: study}, home)]
        yield run_for_studies(context, pipes, home, keys.DOCUMENTS, "sample_documents", ready)
