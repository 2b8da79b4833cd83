"""The code location: loads everything under `defs/`."""

from pathlib import Path

import dagster as dg

from dagster_project import environment

environment.prepare()


@dg.definitions
def defs() -> dg.Definitions:
    """Assets, checks, jobs and resources of Rewardbase."""
    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
