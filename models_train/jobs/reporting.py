"""How a job tells what it did: to Dagster through Pipes where Dagster started it, else on standard output."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from dagster_pipes import PipesContext, PipesEnvVarParamsLoader, open_dagster_pipes

FAILURE = "failure"
"""Key of the message that says why a job under Dagster stopped."""


MAY_PASS = "may_pass"
"""Key that says whether the same job may succeed at another time."""
_PASSING_CLASSES = ("OutOfMemoryError", "LocalEntryNotFoundError")
_PASSING_LIBRARIES = ("httpx", "httpcore", "requests", "urllib3")

ASSET_KEY = "asset_key"
"""Name of the extra in which Dagster says what a job makes."""


class Reporter(Protocol):
    """Where a job reports to."""

    def say(self, text: str) -> None:
        """One line of progress."""

    def done(self, metadata: Mapping[str, Any]) -> None:
        """The job's figures, once, at its end."""

    def fail(self, message: str) -> None:
        """End the job: what went wrong, for a person."""


class _Terminal:
    def say(self, text: str) -> None:
        print(text, flush=True)

    def done(self, metadata: Mapping[str, Any]) -> None:
        for name, value in metadata.items():
            print(f"{name}: {value}", flush=True)

    def fail(self, message: str) -> None:
        sys.exit(message)


class _Pipes:
    def __init__(self, context: PipesContext) -> None:
        self._context = context

    def say(self, text: str) -> None:
        self._context.log.info(text)

    def done(self, metadata: Mapping[str, Any]) -> None:
        # A step that makes several assets says which of them the job is for.
        key = self._context.extras.get(ASSET_KEY)
        self._context.report_asset_materialization(metadata=dict(metadata), asset_key=key)

    def fail(self, message: str) -> None:
        # Dagster shows an exit status where a process fails; the words have to travel as a message.
        self._context.report_custom_message({FAILURE: message, MAY_PASS: may_pass(sys.exc_info()[1])})
        sys.exit(0)


class _Silent:
    def say(self, text: str) -> None:
        pass

    def done(self, metadata: Mapping[str, Any]) -> None:
        pass

    def fail(self, message: str) -> None:
        sys.exit(1)


def may_pass(error: BaseException | None) -> bool:
    """True where an error, or one that led to it, is of a kind that passes by itself.

    Such are networks and hubs out of reach (but not by choice: HF_HUB_OFFLINE), hubs that are overloaded (status 429 or
    from 500 on), and memory of a GPU that another program has.
    """
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    if any(type(one).__name__ == "OfflineModeIsEnabled" for one in chain):
        return False
    return any(_passes(one) for one in chain)


def _passes(error: BaseException) -> bool:
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(status, int):
        return status == 429 or status >= 500
    kind = type(error)
    return (
        isinstance(error, ConnectionError | TimeoutError)
        or kind.__name__ in _PASSING_CLASSES
        or kind.__module__.split(".")[0] in _PASSING_LIBRARIES
    )


def is_first_process() -> bool:
    """True but for the further processes of a job that torchrun started: they report nothing."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def reporter() -> Iterator[Reporter]:
    """The reporter of this process."""
    if not is_first_process():
        yield _Silent()
        return
    if not PipesEnvVarParamsLoader().is_dagster_pipes_process():
        yield _Terminal()
        return
    with open_dagster_pipes() as context:
        yield _Pipes(context)
