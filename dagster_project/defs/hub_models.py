"""Models of a hub: what the standing queries of the studies find, once a day or as often as a study says."""

import dagster as dg

from dagster_project.defs.resources import RunHome
from dagster_project.lib import versions
from dagster_project.lib.due import HUB_MODELS, study_files
from dagster_project.lib.failures import HUB_RETRIES, told
from dagster_project.lib.job_runs import run_for_studies


@dg.asset(
    key=HUB_MODELS,
    # Nothing depends on it: its answer is part of a study, and with that read as the study file is.
    group_name="studies",
    owners=["team:studies"],
    kinds={"python"},
    retry_policy=HUB_RETRIES,
    code_version=versions.of_files("models_train/study/hub*.py", "models_train/jobs/find_models.py"),
    description="Base models that a hub has for the studies which ask it: publishers or collections, within a size "
    "limit, a list of licences and a least number of downloads. Where the hub cannot be asked, the last answer stays.",
)
def hub_models(
    context: dg.AssetExecutionContext, run_home: RunHome, pipes: dg.PipesSubprocessClient
) -> dg.MaterializeResult:
    """Run `models_train.jobs.find_models` for every study with a group `hub`."""
    with told(context):
        paths = [path for path, study in study_files().items() if study.hub]
    return run_for_studies(context, pipes, run_home.home, HUB_MODELS, "find_models", paths)
