"""Jobs: what `make run` and the UI start."""

import dagster as dg

refresh = dg.define_asset_job(
    name="refresh",
    selection=dg.AssetSelection.all(),
    description="Everything: study files, raw tables, dbt, checks, report, snapshot.",
)


@dg.definitions
def jobs() -> dg.Definitions:
    """Jobs, and the executor: the steps are short and share one database, so one process runs them all."""
    return dg.Definitions(jobs=[refresh], executor=dg.in_process_executor)
