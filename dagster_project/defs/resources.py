"""What assets are handed: where the run-time folder is."""

import dagster as dg

from warehouse.home import Home


class RunHome(dg.ConfigurableResource):
    """The run-time folder, by default the one that REWARDBASE_HOME names."""

    @property
    def home(self) -> Home:
        """Paths of the parts, the warehouse, the snapshots and the reports."""
        return Home.from_environment()


@dg.definitions
def resources() -> dg.Definitions:
    """Resources by name."""
    return dg.Definitions(resources={"run_home": RunHome(), "pipes": dg.PipesSubprocessClient()})
