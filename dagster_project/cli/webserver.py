"""`python -m dagster_project.cli.webserver`: Dagster's webserver, which commands from other web pages do not reach.

A page that is open in the same browser can send requests to any port of this machine, directly or under a name that it
points here (DNS rebinding), and Dagster's webserver obeys whoever asks. The guard lets a request pass only if it is
addressed to this machine by a loopback name and comes from the UI itself or from a program that is no browser.
"""

from __future__ import annotations

from typing import Any

import uvicorn
from dagster_webserver.cli import main as serve
from graphql import GraphQLError, OperationDefinitionNode, OperationType, parse
from starlette.datastructures import Headers, QueryParams
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
"""Names under which a browser on this machine reaches the UI, also through a tunnel from another one."""
READING = ("GET", "HEAD")
_POLICY_VIOLATION = 1008
"""Code with which a refused websocket is closed (RFC 6455)."""


class Guard:
    """An ASGI application before another one: it answers requests of other web pages with status 403."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on, or refuse it."""
        reason = refusal(scope) if scope["type"] in ("http", "websocket") else None
        if reason is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await WebSocketClose(_POLICY_VIOLATION, reason)(scope, receive, send)
        else:
            await PlainTextResponse(f"{reason}\n", 403)(scope, receive, send)


def refusal(scope: Scope) -> str | None:
    """Why a request is refused; None for one that may pass. scope: of ASGI, of type http or websocket."""
    headers = Headers(scope=scope)
    hosts, origins = headers.getlist("host"), headers.getlist("origin")
    if len(hosts) != 1 or _name(hosts[0]) not in LOOPBACK:
        return "The UI answers only under a name of this machine: http://127.0.0.1 or http://localhost, with its port."
    if any(origin.lower() != f"http://{hosts[0].lower()}" for origin in origins):
        return "This request comes from another web page; open the UI itself."
    if scope["type"] == "websocket":
        return None
    if not (_is_own(headers) or (scope["method"] in READING and _opens_page(headers))):
        return "This request comes from another web page; open the UI itself."
    if scope["method"] in READING and _commands(scope):
        return "Commands are taken by POST only."
    return None


def _name(host: str) -> str:
    """The name in a header `Host`, without its port; empty where the port is no number."""
    name, colon, port = host.lower().rpartition(":")
    if not colon or host.endswith("]"):
        return host.lower()
    return name if port.isascii() and port.isdigit() else ""


def _is_own(headers: Headers) -> bool:
    """False where a browser says that another site caused the request (Fetch Metadata); programs say nothing."""
    return headers.get("sec-fetch-site", "none") in ("none", "same-origin")


def _opens_page(headers: Headers) -> bool:
    """True for a link to the UI that is opened in a window of its own, not in a frame."""
    return headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"


def _commands(scope: Scope) -> bool:
    """True where the address carries a GraphQL document that does more than to ask."""
    queries = QueryParams(scope.get("query_string", b"")).getlist("query")
    return any(_changes(text) for text in queries)


def _changes(text: str) -> bool:
    try:
        document = parse(text)
    except (GraphQLError, RecursionError):
        return False  # the server cannot read it either
    return any(
        isinstance(part, OperationDefinitionNode) and part.operation is not OperationType.QUERY
        for part in document.definitions
    )


def main() -> None:
    """Run Dagster's webserver, with its own arguments, behind the guard."""
    run = uvicorn.run

    def run_guarded(app: ASGIApp, **options: Any) -> None:
        run(Guard(app), **options)

    # Dagster offers no way to add a middleware. Its last step is this function of uvicorn, with the application.
    uvicorn.run = run_guarded  # type: ignore[assignment]
    serve()


if __name__ == "__main__":
    main()
