"""Alerts: what is told, once, by which way; and that where to never shows."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import dagster as dg
import pytest

from dagster_project.defs.alerts import STALE_SECONDS, failed_runs, stale_snapshot
from dagster_project.lib import alerts
from dagster_project.lib.alerts import EMAIL, SMTP, WEBHOOK, AlertError, send
from dagster_project.lib.automation import SNAPSHOT

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

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    kept.address = f"http://127.0.0.1:{server.server_address[1]}/hook/{SECRET}"
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv(EMAIL, raising=False)
    monkeypatch.setenv(WEBHOOK, kept.address)
    yield kept
    server.shutdown()
    server.server_close()
    thread.join()


def test_nothing_is_sent_where_nothing_is_set() -> None:
    assert send("subject", "text", {}) == []


def test_a_webhook_gets_the_words(webhook: Webhook) -> None:
    assert send("Rewardbase: it failed", "because") == ["webhook"]
    assert webhook.posted == [
        {"text": "Rewardbase: it failed\nbecause", "subject": "Rewardbase: it failed", "detail": "because"}
    ]


@pytest.mark.parametrize("address", ["status", "http://127.0.0.1:9/" + SECRET, "file:///" + SECRET, SECRET, "http://["])
def test_an_alert_that_cannot_be_sent_does_not_show_where_to(webhook: Webhook, address: str) -> None:
    webhook.status = 403
    settings = {WEBHOOK: webhook.address if address == "status" else address}
    with pytest.raises(AlertError, match=rf"webhook that {WEBHOOK} names") as told:
        send("Rewardbase: it failed", "because", settings)
    shown = str(told.value)
    assert SECRET not in shown and "127.0.0.1" not in shown
    assert ("status 403" in shown) == (address == "status")


def test_a_mail_goes_to_the_server_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's side is the standard library's own client, recorded: no mail server is at hand."""
    seen: list[Any] = []

    class Server:
        def __init__(self, host: str, port: int, timeout: float) -> None:
            seen.append((host, port))

        def __enter__(self) -> "Server":
            return self

        def __exit__(self, *_: object) -> None:
            seen.append("closed")

        def login(self, user: str, password: str) -> None:
            seen.append((user, password))

        def send_message(self, message: Any) -> None:
            seen.append((message["To"], message["Subject"], message.get_content().strip()))

    monkeypatch.setattr(alerts.smtplib, "SMTP_SSL", Server)
    settings = {EMAIL: "me@example.org", SMTP: "smtps://us:p%40ss@mail.example.org:465"}
    assert send("Rewardbase:\nit failed", "because", settings) == ["e-mail"]
    assert seen == [
        ("mail.example.org", 465), ("us", "p@ss"), ("me@example.org", "Rewardbase: it failed", "because"), "closed",
    ]  # fmt: skip


@dg.op
def train() -> None:
    raise dg.Failure("small: no weights in the folder; fetch them", allow_retries=False)


@dg.job
def train_reward_models() -> None:
    train()


def test_a_failed_run_is_told_with_its_model_and_reason(webhook: Webhook) -> None:
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
    assert posted["subject"] == "Rewardbase: train_reward_models of first/small|regression failed"
    assert posted["detail"].startswith("train: small: no weights in the folder; fetch them\nrun ")


@dg.asset(key=SNAPSHOT)
def snapshot() -> None:
    """Stands for the published snapshot."""


def look(instance: dg.DagsterInstance, cursor: str | None = None) -> dg.SensorResult:
    with dg.build_sensor_context(instance=instance, cursor=cursor) as context:
        result = stale_snapshot(context)
    assert isinstance(result, dg.SensorResult)
    return result


def test_a_stale_snapshot_is_told_once(webhook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        assert "nothing was published" in str(look(instance).skip_reason)
        dg.materialize([snapshot], instance=instance)
        assert look(instance).cursor is None and webhook.posted == []
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + STALE_SECONDS + 60)
        webhook.status = 500
        with pytest.raises(AlertError):
            look(instance)
        webhook.status = 200
        told = look(instance)
        assert told.cursor and "36 hours old" in webhook.posted[-1]["subject"]
        assert look(instance, told.cursor).cursor is None and len(webhook.posted) == 2
