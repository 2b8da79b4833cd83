"""What goes on without anybody asking: new models, what follows from them, and the nightly refresh."""

from datetime import UTC, datetime

import dagster as dg

from dagster_project.defs.refresh import REFRESH_TAGS, refresh, run_benchmarks, score_documents, train_reward_models
from dagster_project.environment import STUDIES
from dagster_project.lib.automation import LOOK_SECONDS, SNAPSHOT
from dagster_project.lib.locks import make_run_is_at_work
from dagster_project.lib.missing_outputs import assets_to_redo
from dagster_project.lib.partitions import BASE_MODELS
from dagster_project.lib.run_requests import is_being_written, look
from dagster_project.lib.stale import stale_assets
from warehouse.connection import WarehouseBusy
from warehouse.paths import Home

RUNNING_SENSOR = dg.DefaultSensorStatus.RUNNING
MAKE_RUN = "`make run` is at work in this home; the sensor looks again when it has ended"

follow_inputs = dg.AutomationConditionSensorDefinition(
    name="default_automation_condition_sensor",
    target=dg.AssetSelection.all(),
    default_status=RUNNING_SENSOR,
    minimum_interval_seconds=LOOK_SECONDS,
    run_tags=REFRESH_TAGS,
    description="Raw tables when their parts came; then dbt, the performance model, the report and the snapshot.",
)


@dg.sensor(
    name="new_models",
    jobs=[refresh, train_reward_models, score_documents, run_benchmarks],
    default_status=RUNNING_SENSOR,
    minimum_interval_seconds=LOOK_SECONDS,
    description="Base models that come to the study files, or leave them, and the work that is due on them: what is "
    "not there under the name of its inputs. Work that fails is tried three times at most.",
)
def new_models(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Compare the folder of study files with the partitions and the parts."""
    home = Home.from_environment()
    if make_run_is_at_work(home):
        return dg.SensorResult(skip_reason=MAKE_RUN)
    if is_being_written(STUDIES):
        return dg.SensorResult(skip_reason="a study file changed just now; the sensor looks again when it is still")
    found = look(context.instance, home, STUDIES)
    for note in found.notes:
        context.log.warning(note)
    requests: list[dg.AddDynamicPartitionsRequest | dg.DeleteDynamicPartitionsRequest] = []
    if found.added:
        requests.append(BASE_MODELS.build_add_request(found.added))
    if found.retired:
        requests.append(BASE_MODELS.build_delete_request(found.retired))
    if not found.runs:
        return dg.SensorResult(
            skip_reason="\n".join(found.notes) or "nothing is due", dynamic_partitions_requests=requests
        )
    return dg.SensorResult(run_requests=found.runs, dynamic_partitions_requests=requests)


@dg.schedule(
    name="nightly",
    job=refresh,
    cron_schedule="0 3 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every night: all that is out of date, whatever kept it from being made, and a look at the snapshot.",
)
def nightly(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Ask for what `make run` would do, and for the snapshot in any case: that says that somebody looked."""
    home = Home.from_environment()
    if make_run_is_at_work(home):
        return dg.SkipReason(MAKE_RUN)
    graph = context.repository_def.asset_graph
    specs = [graph.get(key).to_asset_spec() for key in graph.materializable_asset_keys]
    return nightly_request(context.instance, home, specs, context.scheduled_execution_time)


def nightly_request(
    instance: dg.DagsterInstance, home: Home, specs: list[dg.AssetSpec], night: datetime
) -> dg.RunRequest:
    """The run of a night: of everything that is stale, or of all assets where the warehouse cannot be looked at."""
    specs = [spec for spec in specs if spec.partitions_def is None]
    try:
        keys = set(stale_assets(specs, instance, assets_to_redo(home, specs)))
    except WarehouseBusy:
        keys = {spec.key for spec in specs}
    return dg.RunRequest(
        run_key=f"night of {night.astimezone(UTC):%Y-%m-%d}", asset_selection=sorted(keys | {SNAPSHOT})
    )


@dg.definitions
def sensors() -> dg.Definitions:
    """Sensors and the schedule."""
    return dg.Definitions(sensors=[follow_inputs, new_models], schedules=[nightly])
