"""Buckets on 127.0.0.1: moto's S3 server, Azurite where it is installed, and a proxy that counts requests and can take
the conditions out of them."""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.support.http_server import served

KEY, SECRET = "AKIAOFTHETESTS", "SecretOfTheTests"
AZURE_ACCOUNT = "devstoreaccount1"
"""Account that Azurite has, with a key that its documentation prints."""
AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_CONDITIONS = ("if-none-match", "if-match")


@dataclass
class Buckets:
    """A server of buckets. environment: of the programs that use it. scheme: of its addresses."""

    endpoint: str
    environment: dict[str, str]
    scheme: str = "s3"
    requests: Counter[str] = field(default_factory=Counter)

    def new(self) -> str:
        """Address of a folder in a new bucket."""
        name = f"b{uuid.uuid4().hex[:12]}"
        if self.scheme == "s3":
            urllib.request.urlopen(urllib.request.Request(f"{self.endpoint}/{name}", method="PUT"), timeout=30).read()
        else:
            _create_container(self.environment, name)
        return f"{self.scheme}://{name}/some/folder"


@contextmanager
def s3() -> Iterator[Buckets]:
    """moto's S3 server. It takes any credentials until `ask_for_credentials`."""
    port = free_port()
    with _running([sys.executable, "-m", "tests.support.moto_server", str(port)], port):
        yield Buckets(f"http://127.0.0.1:{port}", aws(f"http://127.0.0.1:{port}"))


def aws(endpoint: str) -> dict[str, str]:
    """Environment of a program that uses a server of S3."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
    }


@contextmanager
def proxied(upstream: Buckets, drop: Sequence[str] = ()) -> Iterator[Buckets]:
    """A proxy in front of a server of S3 that counts requests by kind. drop: headers that it leaves out."""
    found = Buckets("", {})
    handler = type("Handler", (_Proxy,), {"upstream": urlsplit(upstream.endpoint).netloc, "drop": drop, "to": found})
    with served(handler) as found.endpoint:
        found.environment = aws(found.endpoint)
        yield found


def ignoring_conditions(upstream: Buckets) -> AbstractContextManager[Buckets]:
    """A lookalike of S3 that takes the headers of conditional writes for nothing."""
    return proxied(upstream, _CONDITIONS)


class _Proxy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    upstream: str
    drop: Sequence[str]
    to: Buckets

    def _forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        is_list = self.command == "GET" and "list-type" in parse_qs(urlsplit(self.path).query)
        self.to.requests["LIST" if is_list else self.command] += 1
        connection = http.client.HTTPConnection(self.upstream, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in self.drop}
        connection.request(self.command, self.path, body or None, headers)
        answer = connection.getresponse()
        content = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "date", "server", "content-length"):
                self.send_header(name, value)
        self.send_header("Content-Length", answer.getheader("Content-Length") or str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
        connection.close()

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _forward

    def log_message(self, *_: object) -> None:
        """Nothing."""


def azurite() -> str | None:
    """The program of Azurite's blob server, on the path or where npm put it; None where there is none."""
    return shutil.which("azurite-blob", path=f"{os.environ.get('PATH', '')}:{os.environ.get('AZURITE_BIN', '')}")


@contextmanager
def azure(folder: Path) -> Iterator[Buckets]:
    """Azurite, which checks signatures. folder: for what it keeps."""
    program, port = azurite(), free_port()
    assert program, "Azurite is not installed: npm install --global azurite, or name its folder in AZURITE_BIN"
    command = [program, "--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", str(folder), "--silent"]
    endpoint = f"http://127.0.0.1:{port}/{AZURE_ACCOUNT}"
    with _running([*command, "--skipApiVersionCheck", "--disableTelemetry"], port):
        environment = {
            "AZURE_STORAGE_ACCOUNT_NAME": AZURE_ACCOUNT,
            "AZURE_STORAGE_ACCOUNT_KEY": AZURE_KEY,
            "AZURE_STORAGE_ENDPOINT": endpoint,
        }
        yield Buckets(endpoint, environment, "az")


def _create_container(environment: dict[str, str], container: str) -> None:
    """Create a container, which obstore cannot, by a signed request."""
    import base64
    import hashlib
    import hmac
    from email.utils import formatdate

    endpoint = environment["AZURE_STORAGE_ENDPOINT"]
    headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
    canonical = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    path = f"/{AZURE_ACCOUNT}{urlsplit(endpoint).path}/{container}"
    text = f"PUT\n\n\n\n\n\n\n\n\n\n\n\n{canonical}{path}\nrestype:container"
    digest = hmac.new(base64.b64decode(AZURE_KEY), text.encode(), hashlib.sha256).digest()
    headers["Authorization"] = f"SharedKey {AZURE_ACCOUNT}:{base64.b64encode(digest).decode()}"
    headers["Content-Length"] = "0"
    request = urllib.request.Request(f"{endpoint}/{container}?restype=container", method="PUT", headers=headers)
    urllib.request.urlopen(request, timeout=30).read()


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _running(command: list[str], port: int) -> Iterator[None]:
    """A server, from when it listens on its port until it is ended."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        ends = time.monotonic() + 90
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None and time.monotonic() < ends, f"{command[0]} does not listen on {port}"
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def answering(status: int, body: str) -> Iterator[Buckets]:
    """A server that gives one answer to everything."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _answer

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with served(Handler) as endpoint:
        yield Buckets(endpoint, aws(endpoint))
