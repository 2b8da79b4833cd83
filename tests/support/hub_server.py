"""A small hub on 127.0.0.1: the routes that huggingface_hub asks to list and fetch files of data sets and models, and
to learn of models and collections."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.support import http_server

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """data_sets: repository -> file name -> content. models: what the hub says of each. collections: names of models by
    slug. repositories: of models, as data_sets. refs: commit by branch or tag. `asked` lists the paths that were asked
    for. While `broken`, every answer is an error of the server; with a `refusal`, every answer is that: status and
    headers. `fails`: answers that are still to be an error of the server."""

    def __init__(self, endpoint: str, data_sets: Mapping[str, Mapping[str, bytes]]) -> None:
        self.endpoint = endpoint
        self.data_sets = data_sets
        self.models: list[dict[str, Any]] = []
        self.repositories: dict[str, Mapping[str, bytes]] = {}
        self.refs = {"main": COMMIT}
        self.refusal: tuple[int, dict[str, str]] | None = None
        self.fails = 0
        self.collections: dict[str, list[str]] = {}
        self.broken = False
        self.asked: list[str] = []

    def fetched(self) -> list[str]:
        """Names of the files whose content was asked for, in order."""
        gets = [path for path in self.asked if path.startswith("GET") and "/resolve/" in path]
        return [path.split("/resolve/")[1].split("/", 1)[1] for path in gets]


@contextmanager
def served(data_sets: Mapping[str, Mapping[str, bytes]]) -> Iterator[Hub]:
    """A running hub."""
    hub = Hub("", data_sets)
    with http_server.served(type("Handler", (_Handler,), {"hub": hub})) as hub.endpoint:
        yield hub


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer("HEAD")

    def do_GET(self) -> None:
        self._answer("GET")

    def log_message(self, *_: object) -> None:
        """Nothing on standard error."""

    def _answer(self, method: str) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(f"{method} {path}")
        steps = path.strip("/").split("/")
        if self.hub.fails:
            self.hub.fails -= 1
            self._send(503, {})
            return
        if self.hub.broken or self.hub.refusal:
            self._send(*(self.hub.refusal or (503, {})))
            return
        is_api = steps[0] == "api"
        kind = steps[is_api] if is_api or steps[0] == "datasets" else "models"
        place = is_api + (is_api or kind == "datasets")
        repository, rest = "/".join(steps[place : place + 2]), steps[place + 2 :]
        if is_api and kind != "datasets" and repository not in self.hub.repositories:
            self._send_models(steps[1:], parse_qs(urlsplit(self.path).query))
            return
        files = (self.hub.data_sets if kind == "datasets" else self.hub.repositories).get(repository)
        if files is None:
            self._send(404, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})
        elif len(rest) > 1 and rest[1] not in (*self.hub.refs, *self.hub.refs.values()):
            self._send(404, {"X-Error-Code": "RevisionNotFound", "X-Error-Message": "Revision not found"})
        elif is_api:
            self._send_json(files, rest)
        else:
            self._send_file(files.get("/".join(rest[2:])), method, self.hub.refs.get(rest[1], rest[1]))

    def _send_models(self, steps: list[str], query: Mapping[str, list[str]]) -> None:
        """The models of an author, one page of two after the other; one model; or a collection."""
        models, name = self.hub.models, "/".join(steps[1:])
        answer: object = None
        headers = {}
        if steps[0] == "collections" and name in self.hub.collections:
            listed = [{"_id": one, "id": one, "type": "model", "position": 0} for one in self.hub.collections[name]]
            facts = ("title", "owner", "position", "private", "theme", "upvotes")
            answer = {"slug": name, "items": listed, "lastUpdated": "2026-01-01T00:00:00.000Z", **dict.fromkeys(facts)}
        elif steps[0] == "models" and name:
            answer = next((model for model in models if model["id"] == name), None)
        elif steps[0] == "models":
            author, start = query["author"][0], int(query.get("cursor", ["0"])[0])
            own = [model for model in models if model["id"].split("/")[0] == author]
            answer = own[start : start + 2]
            if start + 2 < len(own):
                more = f"{self.hub.endpoint}/api/models?author={author}&cursor={start + 2}"
                headers["Link"] = f'<{more}>; rel="next"'
        if answer is None:
            self._send(404, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "not found"})
            return
        body = json.dumps(answer).encode()
        self._send(200, headers | {"Content-Type": "application/json", "Content-Length": str(len(body))}, body)

    def _send_json(self, files: Mapping[str, bytes], rest: list[str]) -> None:
        if rest[:1] == ["commits"]:
            facts = {"authors": [], "date": "2026-01-01T00:00:00.000Z", "title": "", "message": ""}
            listed: object = [facts | {"id": commit} for commit in dict.fromkeys(self.hub.refs.values())]
        elif rest[:1] == ["tree"]:
            listed = [
                {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                for name, content in files.items()
            ]
        else:
            commit = self.hub.refs.get(rest[1], rest[1]) if len(rest) > 1 else self.hub.refs["main"]
            listed = {"id": "x/y", "sha": commit, "siblings": [{"rfilename": name} for name in files]}
        body = json.dumps(listed).encode()
        self._send(200, {"Content-Type": "application/json", "Content-Length": str(len(body))}, body)

    def _send_file(self, content: bytes | None, method: str, commit: str) -> None:
        if content is None:
            self._send(404, {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"})
            return
        headers = {
            "Content-Length": str(len(content)),
            "ETag": f'"{hashlib.sha1(content).hexdigest()}"',
            "X-Repo-Commit": commit,
            "Accept-Ranges": "bytes",
        }
        self._send(200, headers, content if method == "GET" else b"")

    def _send(self, status: int, headers: Mapping[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | dict(headers)).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
