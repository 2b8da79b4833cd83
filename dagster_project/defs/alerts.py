"""Alerts: a run that failed, and a snapshot that nobody renewed for too long."""

import time
from datetime import UTC, datetime

import dagster as dg

from dagster_project.defs.publish import FRESHNESS
from dagster_project.lib import alerts
from dagster_project.lib.automation import SNAPSHOT

RUNNING = dg.DefaultSensorStatus.RUNNING
STALE_SECONDS = FRESHNESS.fail_window.to_timedelta().total_seconds()
NOBODY = f"nobody is told: neither {alerts.WEBHOOK} nor {alerts.EMAIL} is set"


@dg.run_failure_sensor(
    name="failed_runs",
    default_status=RUNNING,
    description="Tells the webhook or mailbox that the environment names of each run that failed, and of which model.",
)
def failed_runs(context: dg.RunFailureSensorContext) -> dg.SkipReason | None:
    """One alert per failed run that Dagster does not start again by itself."""
    run = context.dagster_run
    if run.tags.get("dagster/will_retry", "").lower() == "true":
        return dg.SkipReason(f"run {run.run_id[:8]} is started again")
    partition = run.tags.get("dagster/partition")
    what = f"{run.job_name} of {partition}" if partition else run.job_name
    if not alerts.send(f"Rewardbase: {what} failed", _words(context)):
        return dg.SkipReason(NOBODY)
    return None


def _words(context: dg.RunFailureSensorContext) -> str:
    """What the steps that failed say, and which run it is."""
    said = []
    for event in context.get_step_failure_events():
        data = event.step_failure_data
        own = data.user_failure_data.description if data.user_failure_data else None
        error = data.error
        while own is None and error is not None and error.cause is not None:
            error = error.cause
        said.append(f"{event.step_key}: {own or (error.message.strip() if error else 'failed')}")
    return "\n".join([*(said or [context.failure_event.message or "failed"]), f"run {context.dagster_run.run_id}"])


@dg.sensor(
    name="stale_snapshot",
    asset_selection=[SNAPSHOT],
    default_status=RUNNING,
    minimum_interval_seconds=600,
    description="Tells, once, that the published snapshot is older than its freshness policy allows.",
)
def stale_snapshot(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Compare the age of the last look at the snapshot with the policy's window."""
    event = context.instance.get_latest_materialization_event(SNAPSHOT)
    if event is None:
        return dg.SensorResult(skip_reason="nothing was published yet")
    seconds = time.time() - event.timestamp
    if seconds < STALE_SECONDS:
        return dg.SensorResult(skip_reason=f"the snapshot was looked at {seconds / 3600:.1f} hours ago")
    told = f"{event.run_id} {event.timestamp:.0f}"
    if context.cursor == told:
        return dg.SensorResult(skip_reason="the snapshot is stale; that was told")
    since = datetime.fromtimestamp(event.timestamp, UTC)
    text = f"It was last published, or found unchanged, on {since:%Y-%m-%d %H:%M} UTC. The runs since then say why."
    sent = alerts.send(f"Rewardbase: the snapshot is {seconds / 3600:.0f} hours old", text)
    return dg.SensorResult(skip_reason="the snapshot is stale" if sent else NOBODY, cursor=told if sent else None)


@dg.definitions
def alert_sensors() -> dg.Definitions:
    """The sensors that tell."""
    return dg.Definitions(sensors=[failed_runs, stale_snapshot])
