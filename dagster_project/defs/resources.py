"""What assets are handed: where the run-time folder is."""

import os
from collections.abc import Generator
from contextlib import contextmanager

import dagster as dg

from dagster_project.lib.job_processes import JobProcesses
from dagster_project.lib.locks import among_others
from dagster_project.lib.task_runs import n_workers
from warehouse.paths import Home


class RunHome(dg.ConfigurableResource):
    """The run-time folder, by default the one that REWARDBASE_HOME names."""

    @property
    def home(self) -> Home:
        """Paths of the parts, the warehouse, the snapshots and the reports."""
        return Home.from_environment()

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Generator["RunHome", None, None]:
        """For as long as a run lasts, it is seen by `make run`, and waits for it before it begins."""
        if context.run is None:
            yield self
            return
        with among_others(self.home, context.run):
            yield self


def job_environment() -> dict[str, str]:
    """What jobs find in their environment beside this process's: the share of the cores that each may use."""
    threads = max(1, (os.cpu_count() or 1) // n_workers())
    return {} if "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": str(threads)}


@dg.definitions
def resources() -> dg.Definitions:
    """Resources by name."""
    return dg.Definitions(resources={"run_home": RunHome(), "pipes": JobProcesses(env=job_environment())})
