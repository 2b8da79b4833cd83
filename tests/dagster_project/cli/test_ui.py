"""The UI as programs and other web pages see it: who may ask it, who may command it; one per home; its end."""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote, urlsplit

import psutil
import pytest
from websockets.sync.client import connect

from dagster_project.cli import ui
from dagster_project.cli.webserver import refusal
from tests.support.programs import REPOSITORY, environment, run_program

ASK = "{ version }"
COMMAND = 'mutation { setConcurrencyLimit(concurrencyKey: "gpu", limit: 77) }'
LIMIT = '{ instance { concurrencyLimit(concurrencyKey: "gpu") { slotCount } } }'


def scope(headers: dict[str, str], method: str = "GET", query: str = "", kind: str = "http") -> dict[str, object]:
    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    return {"type": kind, "method": method, "path": "/graphql", "query_string": query.encode(), "headers": pairs}


FETCHED = {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
LINK = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
HERE = "127.0.0.1:3000"


@pytest.mark.parametrize(
    ("headers", "method"),
    [
        ({"Host": HERE}, "POST"),
        ({"Host": "localhost:3000"}, "GET"),
        ({"Host": "LOCALHOST"}, "GET"),
        ({"Host": "[::1]:3000"}, "GET"),
        ({"Host": HERE, "Origin": f"http://{HERE}", "Sec-Fetch-Site": "same-origin"}, "POST"),
        ({"Host": "localhost:8080", "Origin": "http://localhost:8080"}, "POST"),
        ({"Host": HERE, "Sec-Fetch-Site": "none", **LINK}, "GET"),
        ({"Host": HERE, "Sec-Fetch-Site": "cross-site", **LINK}, "GET"),
    ],
)
def test_programs_and_the_ui_itself_may_ask(headers: dict[str, str], method: str) -> None:
    assert refusal(scope(headers, method)) is None


@pytest.mark.parametrize(
    ("headers", "method"),
    [
        ({}, "GET"),
        ({"Host": ""}, "GET"),
        ({"Host": "rebound.example:3000"}, "GET"),
        ({"Host": "127.0.0.1.nip.io:3000"}, "GET"),
        ({"Host": "localhost.example"}, "GET"),
        ({"Host": "localhost:3000@rebound.example"}, "GET"),
        ({"Host": "127.0.0.1:80:3000"}, "GET"),
        ({"Host": "0.0.0.0:3000"}, "GET"),
        ({"Host": HERE, "Origin": "http://elsewhere.example"}, "POST"),
        ({"Host": HERE, "Origin": "null"}, "POST"),
        ({"Host": HERE, "Origin": "http://127.0.0.1:8888"}, "POST"),
        ({"Host": HERE, "Origin": "http://localhost:3000"}, "POST"),
        ({"Host": HERE, "Origin": f"https://{HERE}"}, "POST"),
        ({"Host": HERE, "Sec-Fetch-Site": "cross-site", **FETCHED}, "GET"),
        ({"Host": HERE, "Sec-Fetch-Site": "same-site", **FETCHED}, "GET"),
        ({"Host": HERE, "Sec-Fetch-Site": "cross-site", **LINK}, "POST"),
        ({"Host": HERE, "Sec-Fetch-Site": "cross-site", **LINK, "Sec-Fetch-Dest": "iframe"}, "GET"),
    ],
)
def test_other_pages_may_not(headers: dict[str, str], method: str) -> None:
    assert refusal(scope(headers, method))


@pytest.mark.parametrize(
    ("document", "refused"),
    [
        (ASK, False),
        ("query q { version }", False),
        ("not GraphQL", False),
        (COMMAND, True),
        (f"# a comment\n{COMMAND}", True),
        (f"query q {ASK} {COMMAND.replace('mutation', 'mutation m')}", True),
        ("subscription { locationStateChangeEvents { event { message } } }", True),
    ],
)
def test_commands_are_taken_by_post_only(document: str, refused: bool) -> None:
    hidden = f"query={quote(ASK)}&query={quote(document)}"
    for query in (f"query={quote(document)}", hidden):
        assert bool(refusal(scope({"Host": HERE}, query=query))) == refused
        assert bool(refusal(scope({"Host": HERE}, "HEAD", query))) == refused


@pytest.fixture(scope="module")
def address(ui: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Address of a UI at work, and its home."""
    home = tmp_path_factory.mktemp("home")
    with ui.at_work(home, REPOSITORY) as (where, _):
        yield where, home


def status(address: str, method: str, path: str, body: str | None = None, **headers: str) -> int:
    """The status of an answer. headers: with `_` for `-`; Host as given, or else that of the address."""
    place = urlsplit(address)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=20)
    connection.putrequest(method, path, skip_host=True)
    content = body.encode() if body is not None else b""
    for name, value in {"Host": place.netloc, "Content_Length": str(len(content)), **headers}.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders(content)
    try:
        return connection.getresponse().status
    finally:
        connection.close()


def shaken(address: str, **headers: str) -> int:
    """Status of a websocket's handshake: 101 where it is taken."""
    key = base64.b64encode(b"0123456789abcdef").decode()
    asked = {"Host": urlsplit(address).netloc, "Upgrade": "websocket", "Connection": "Upgrade"} | headers
    asked |= {"Sec-WebSocket-Key": key, "Sec-WebSocket-Version": "13", "Sec-WebSocket-Protocol": "graphql-ws"}
    with socket.create_connection(("127.0.0.1", urlsplit(address).port or 0), 20) as line:
        head = "".join(f"{name}: {value}\r\n" for name, value in asked.items())
        line.sendall(f"GET /graphql HTTP/1.1\r\n{head}\r\n".encode())
        return int(line.recv(100).split()[1])


def test_a_command_by_get_does_nothing(address: tuple[str, Path], ui: SimpleNamespace) -> None:
    where, _ = address
    before = ui.ask(where, LIMIT)
    assert status(where, "GET", f"/graphql?query={quote(COMMAND)}") == 403
    assert status(where, "GET", f"/graphql?query={quote(ASK)}") == 200
    body = json.dumps({"query": COMMAND})
    for headers in ({"Origin": "http://elsewhere.example"}, {"Host": "rebound.example"}, {"Origin": "null"}):
        assert status(where, "POST", "/graphql", body, Content_Type="application/json", **headers) == 403
        assert (
            status(where, "POST", f"/graphql?query={quote(COMMAND)}", "", Content_Type="text/plain", **headers) == 403
        )
    assert ui.ask(where, LIMIT) == before
    assert status(where, "POST", "/graphql", body, Content_Type="application/json", Origin=where) == 200
    assert ui.ask(where, LIMIT)["instance"]["concurrencyLimit"]["slotCount"] == 77, "the UI's own command"


@pytest.mark.parametrize("path", ["/", "/server_info", "/assets", "/logs/a/b.out", "/graphql"])
def test_no_page_is_read_under_another_name(address: tuple[str, Path], path: str) -> None:
    assert status(address[0], "GET", path, Host="rebound.example") == 403
    assert status(address[0], "GET", path, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors") == 403
    assert status(address[0], "GET", path) != 403


def test_an_event_is_not_reported_from_another_page(address: tuple[str, Path]) -> None:
    path = "/report_asset_materialization/made/up"
    assert status(address[0], "POST", path, "", Origin="http://elsewhere.example") == 403
    assert status(address[0], "POST", path, "") == 200


def test_a_websocket_opens_for_the_ui_alone(address: tuple[str, Path]) -> None:
    where, _ = address
    assert shaken(where) == shaken(where, Origin=where) == 101
    for headers in ({"Origin": "http://elsewhere.example"}, {"Origin": "null"}, {"Host": "rebound.example"}):
        assert shaken(where, **headers) == 403


def test_a_websocket_takes_subscriptions_but_no_commands(address: tuple[str, Path], ui: SimpleNamespace) -> None:
    where, _ = address
    before = ui.ask(where, LIMIT)
    with connect(where.replace("http", "ws") + "/graphql", origin=where, subprotocols=["graphql-ws"]) as line:  # type: ignore[arg-type,list-item]
        line.send(json.dumps({"type": "connection_init"}))
        assert json.loads(line.recv(20))["type"] == "connection_ack"
        line.send(json.dumps({"type": "start", "id": "1", "payload": {"query": COMMAND.replace("77", "78")}}))
        assert json.loads(line.recv(20))["type"] in ("error", "data")
        follow = "subscription { locationStateChangeEvents { event { message } } }"
        line.send(json.dumps({"type": "start", "id": "2", "payload": {"query": follow}}))
        line.send(json.dumps({"type": "stop", "id": "2"}))
    assert ui.ask(where, LIMIT) == before


def test_a_second_ui_of_the_home_is_refused(address: tuple[str, Path]) -> None:
    where, home = address
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    done = run_program("ui", home, "--port", str(port))
    assert done.returncode == 1
    assert f"A Dagster UI of {home} is at work already ({where}, process " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_ui_that_a_script_put_into_the_background_ends_at_sigterm(ui: SimpleNamespace, tmp_path: Path) -> None:
    """A shell without job control has SIGINT ignored in what it puts there, and its programs inherit that."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "dagster_project.cli.ui", "--port", str(port)],
        cwd=REPOSITORY,
        env=environment(tmp_path),
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    try:
        ui.wait_for(lambda: ui.ask(f"http://127.0.0.1:{port}", ASK), 400)
        started = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        assert process.wait(120) == 0
        assert [one for one in started if one.is_running() and one.status() != psutil.STATUS_ZOMBIE] == []
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize("port", ["abc", "0", "80", "65536", "-1", "3000.5", "", "9" * 30])
def test_a_port_that_cannot_be_is_refused_with_those_that_can(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        ui.main([f"--port={port}"])
    assert f"UI_PORT={port} is not a whole number from 1024 to 65535" in capsys.readouterr().err
