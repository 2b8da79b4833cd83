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
        self._context.report_custom_message({FAILURE: message})
        sys.exit(0)


class _Silent:
    def say(self, text: str) -> None:
        pass

    def done(self, metadata: Mapping[str, Any]) -> None:
        pass

    def fail(self, message: str) -> None:
        sys.exit(1)


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
