"""Alerts: what is sent, and when, to a server on this machine; addresses never show."""

import json
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import dagster as dg
import pytest

from dagster_project.defs.alerts import STALE_SECONDS, failed_runs, send, stale_snapshot
from dagster_project.lib.keys import SNAPSHOT
from models_train.errors import UserError
from tests.support.http_server import served

SECRET = "T0K3N-of-the-webhook"


class Webhook:
    """Keeps what was posted; answers with `status`."""

    def __init__(self) -> None:
        self.posted: list[dict[str, Any]] = []
        self.status = 200
        self.address = ""


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    kept = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            kept.posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(kept.status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing on standard error."""

    with served(Handler) as address:
        kept.address = f"{address.replace('http', 'json')}/hook/{SECRET}"
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("REWARDBASE_ALERTS", kept.address)
        yield kept


def test_nothing_is_sent_where_nothing_is_set() -> None:
    assert send("subject", "text", "") is False


def test_a_webhook_gets_subject_and_text(webhook: Webhook) -> None:
    assert send("Rewardbase:\nit failed", "because", webhook.address)
    (posted,) = webhook.posted
    assert (posted["title"], posted["message"]) == ("Rewardbase: it failed", "because")


@pytest.mark.parametrize("address", ["status", "json://127.0.0.1:9/" + SECRET, "file:///" + SECRET, SECRET, "http://["])
def test_an_alert_that_cannot_be_sent_does_not_show_its_address(
    webhook: Webhook, address: str, capfd: pytest.CaptureFixture[str]
) -> None:
    webhook.status = 403
    with pytest.raises(UserError, match="in REWARDBASE_ALERTS") as raised:
        send("Rewardbase: it failed", "because", webhook.address if address == "status" else address)
    captured = capfd.readouterr()
    shown = str(raised.value) + captured.out + captured.err
    assert SECRET not in shown and "127.0.0.1" not in shown


@pytest.mark.parametrize("other", ["json://127.0.0.1:9/", "unknown://127.0.0.1"])
def test_every_address_is_tried(webhook: Webhook, other: str) -> None:
    with pytest.raises(UserError):
        send("Rewardbase: it failed", "because", f"{other} {webhook.address}")
    assert len(webhook.posted) == 1


@dg.op
def train() -> None:
    raise dg.Failure("small: no weights in the folder; fetch them", allow_retries=False)


@dg.job
def train_reward_models() -> None:
    train()


def test_the_alert_of_a_failed_run_has_its_model_and_reason(webhook: Webhook) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        tags = {"dagster/partition": "first/small|regression"}
        done = train_reward_models.execute_in_process(instance=instance, raise_on_error=False, tags=tags)
        context = dg.build_run_status_sensor_context(
            sensor_name="failed_runs",
            dagster_event=done.get_run_failure_event(),
            dagster_instance=instance,
            dagster_run=done.dagster_run,
        ).for_run_failure()
        failed_runs(context)
    (posted,) = webhook.posted
    assert posted["title"] == "Rewardbase: train_reward_models of first/small|regression failed"
    assert posted["message"].startswith("train: small: no weights in the folder; fetch them\nrun ")


@dg.asset(key=SNAPSHOT)
def snapshot() -> None:
    """Stands for the published snapshot."""


def look(instance: dg.DagsterInstance, cursor: str | None = None) -> dg.SensorResult:
    with dg.build_sensor_context(instance=instance, cursor=cursor) as context:
        result = stale_snapshot(context)
    assert isinstance(result, dg.SensorResult)
    return result


def test_a_stale_snapshot_has_one_alert(webhook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        assert "nothing was published" in str(look(instance).skip_reason)
        dg.materialize([snapshot], instance=instance)
        assert look(instance).cursor is None and webhook.posted == []
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + STALE_SECONDS + 60)
        webhook.status = 500
        with pytest.raises(UserError):
            look(instance)
        webhook.status = 200
        told = look(instance)
        assert told.cursor and "36 hours old" in webhook.posted[-1]["title"]
        assert look(instance, told.cursor).cursor is None and len(webhook.posted) == 2


def test_a_snapshot_of_the_future_has_an_alert(webhook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        dg.materialize([snapshot], instance=instance)
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now - 60)
        assert look(instance).cursor is None and webhook.posted == [], "clocks differ a little"
        monkeypatch.setattr(time, "time", lambda: now - 2 * STALE_SECONDS)
        assert look(instance).cursor and "dated in the future" in webhook.posted[-1]["title"]
