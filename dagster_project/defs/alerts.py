"""Alerts: runs that failed, and a snapshot that is older than its freshness policy allows. Sent by apprise."""

import logging
import time
from datetime import UTC, datetime

import dagster as dg

from dagster_project.environment import settings
from dagster_project.lib.automation import FRESHNESS
from dagster_project.lib.keys import SNAPSHOT
from models_train.errors import UserError

STALE_SECONDS = FRESHNESS.fail_window.to_timedelta().total_seconds()
OFF = "alerts are off: set REWARDBASE_ALERTS"
LONGEST_TEXT = 3000
"""Length of an alert's text, in characters."""


def send(subject: str, text: str, addresses: str) -> bool:
    """Send an alert to every address (separated by spaces); False where there is none.

    Raises UserError where one address failed, after the others were tried. Its message holds no address: an address
    may contain a password.
    """
    import apprise  # half a second, which other steps do not need

    # apprise logs addresses, too.
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
    if not addresses.strip():
        return False
    receivers = apprise.Apprise()
    known = [receivers.add(address) for address in addresses.split()]
    is_sent = receivers.notify(title=" ".join(subject.split()), body=text[:LONGEST_TEXT])
    if not all(known):
        place = known.index(False) + 1
        raise UserError(
            f"address {place} in REWARDBASE_ALERTS is not one that apprise knows; write it as json://, slack://, "
            "mailto:// or another of its services"
        )
    if not is_sent:
        raise UserError(
            f"the alert {subject!r} could not be sent to an address in REWARDBASE_ALERTS; check the address, and "
            "whether its server can be reached"
        )
    return True


@dg.run_failure_sensor(
    name="failed_runs",
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Sends an alert for each failed run, with its model and its reason, to REWARDBASE_ALERTS.",
)
def failed_runs(context: dg.RunFailureSensorContext) -> dg.SkipReason | None:
    """One alert per failed run that Dagster does not retry."""
    run = context.dagster_run
    if run.tags.get("dagster/will_retry", "").lower() == "true":
        return dg.SkipReason(f"run {run.run_id[:8]} is retried")
    partition = run.tags.get("dagster/partition")
    what = f"{run.job_name} of {partition}" if partition else run.job_name
    if not send(f"Rewardbase: {what} failed", _reasons(context), settings().alerts):
        return dg.SkipReason(OFF)
    return None


def _reasons(context: dg.RunFailureSensorContext) -> str:
    """The messages of the steps that failed, and the run id."""
    reasons = []
    for event in context.get_step_failure_events():
        data = event.step_failure_data
        own = data.user_failure_data.description if data.user_failure_data else None
        error = data.error
        while own is None and error is not None and error.cause is not None:
            error = error.cause
        reasons.append(f"{event.step_key}: {own or (error.message.strip() if error else 'failed')}")
    return "\n".join([*(reasons or [context.failure_event.message or "failed"]), f"run {context.dagster_run.run_id}"])


@dg.sensor(
    name="stale_snapshot",
    asset_selection=[SNAPSHOT],
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=600,
    description="Sends one alert when the published snapshot is older than its freshness policy allows.",
)
def stale_snapshot(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Compare the age of the latest materialization of the snapshot with the policy's window."""
    event = context.instance.get_latest_materialization_event(SNAPSHOT)
    if event is None:
        return dg.SensorResult(skip_reason="nothing was published yet")
    seconds = time.time() - event.timestamp
    if abs(seconds) < STALE_SECONDS:
        return dg.SensorResult(skip_reason=f"the snapshot was checked {seconds / 3600:.1f} hours ago")
    alerted = f"{event.run_id} {event.timestamp:.0f}"
    if context.cursor == alerted:
        return dg.SensorResult(skip_reason="the snapshot is stale; the alert was sent")
    since = datetime.fromtimestamp(event.timestamp, UTC)
    text = f"It was last published, or found unchanged, on {since:%Y-%m-%d %H:%M} UTC. The runs since then show why."
    subject = f"Rewardbase: the snapshot is {seconds / 3600:.0f} hours old"
    if seconds < 0:
        subject = "Rewardbase: the snapshot is dated in the future, so its age is not known"
    sent = send(subject, text, settings().alerts)
    return dg.SensorResult(skip_reason="the snapshot is stale" if sent else OFF, cursor=alerted if sent else None)


@dg.definitions
def alert_sensors() -> dg.Definitions:
    """The alert sensors."""
    return dg.Definitions(sensors=[failed_runs, stale_snapshot])
