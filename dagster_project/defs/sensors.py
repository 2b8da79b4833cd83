"""Sensors and the nightly schedule: new models, due work, the assets that follow."""

import dagster as dg

from dagster_project.defs.jobs import JOBS, REFRESH_TAGS, refresh
from dagster_project.environment import STUDIES, settings
from dagster_project.lib.locks import make_run_is_at_work
from dagster_project.lib.run_requests import evaluate, is_being_written, nightly_request
from warehouse.paths import Home

MAKE_RUN = "`make run` is at work in this home; the sensor waits until it has ended"

follow_inputs = dg.AutomationConditionSensorDefinition(
    name="default_automation_condition_sensor",
    target=dg.AssetSelection.all(),
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=settings().look_seconds,
    run_tags=REFRESH_TAGS,
    description="Raw tables when there are new parts; then dbt, the performance model, the report and the snapshot.",
)


@dg.sensor(
    name="new_models",
    jobs=JOBS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=settings().look_seconds,
    description="Base models, reward models and policies that are added to the study files or removed from them, and "
    "all due work: parts that are missing under the run id of their inputs. Failed work is tried three times at most.",
)
def new_models(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Compare the folder of study files with the partitions and the parts."""
    home = Home.from_environment()
    if make_run_is_at_work(home):
        return dg.SensorResult(skip_reason=MAKE_RUN)
    if is_being_written(STUDIES):
        return dg.SensorResult(skip_reason="a study file changed just now; the next tick reads it")
    found = evaluate(context.instance, home, STUDIES)
    for note in found.notes:
        context.log.warning(note)
    requests: list[dg.AddDynamicPartitionsRequest | dg.DeleteDynamicPartitionsRequest] = []
    for change in found.partitions:
        if change.added:
            requests.append(change.partitions.build_add_request(change.added))
        if change.retired:
            requests.append(change.partitions.build_delete_request(change.retired))
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
    description="Every night: all stale assets, whatever kept them from being made, and the snapshot in any case.",
)
def nightly(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Request the stale assets and the snapshot: its materialization shows that the schedule is alive."""
    home = Home.from_environment()
    if make_run_is_at_work(home):
        return dg.SkipReason(MAKE_RUN)
    graph = context.repository_def.asset_graph
    specs = [graph.get(key).to_asset_spec() for key in graph.materializable_asset_keys]
    return nightly_request(context.instance, home, specs, context.scheduled_execution_time)


@dg.definitions
def sensors() -> dg.Definitions:
    """Sensors and the schedule."""
    return dg.Definitions(sensors=[follow_inputs, new_models], schedules=[nightly])
