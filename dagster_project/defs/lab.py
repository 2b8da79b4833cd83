"""The worlds that are made here, and the sample of documents of each study: what GPU jobs work on."""

from collections.abc import Iterator

import dagster as dg

from dagster_project.defs.resources import RunHome
from dagster_project.lib.due import DOCUMENTS, LAB, study_files
from dagster_project.lib.failures import told
from dagster_project.lib.job_runs import run_for_studies
from models_train.study.fingerprints import SCORING_VERSION
from models_train.study.lab import LAB_VERSION


# One op for both, and not after parts/studies, though it reads the same files: Dagster would cut dbt's run in two.
@dg.multi_asset(
    name="make_inputs",
    specs=[
        dg.AssetSpec(
            key=LAB,
            group_name="lab",
            owners=["team:training"],
            kinds={"torch", "parquet"},
            code_version=f"lab-{LAB_VERSION}",
            description="Synthetic: the base models, preferences, ratings, test set, documents and benchmarks of every "
            "lab, and the truth about them.",
        ),
        dg.AssetSpec(
            key=DOCUMENTS,
            deps=[LAB],
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
    with told(context):
        studies = study_files()
    work = {
        LAB: ("make_lab", [path for path, study in studies.items() if study.lab]),
        DOCUMENTS: ("sample_documents", [path for path, study in studies.items() if study.scoring]),
    }
    for key, (job, paths) in work.items():
        if key in context.selected_asset_keys:
            yield run_for_studies(context, pipes, run_home.home, key, job, paths)
