"""User errors as Dagster failures, without a traceback; new attempts after failures that may pass.

No step has a retry policy: Dagster would apply it to a step that a person stopped, and start that step again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
import duckdb

from models_train.errors import UserError
from models_train.files import disk_problem
from models_train.machine import out_of_memory
from models_train.store import StoreAway
from warehouse.connection import WarehouseBusy
from warehouse.paths import Home

MOST_RETRIES = 2
"""Most new attempts at a step within a run."""
RETRY_SECONDS = 20.0
"""Pause before a new attempt, in seconds."""
GIVEN_UP = "rewardbase/given_up"
"""Tag of a run that failed for a permanent reason: sensors do not start its work again."""


@contextmanager
def as_dagster_failure(context: dg.AssetExecutionContext | None = None) -> Iterator[None]:
    """Re-raise user errors as dagster.Failure with the same message; other errors keep their traceback.

    A busy warehouse and a store that is away are tried again, within the run. After any other failure the context's run
    is tagged GIVEN_UP.
    """
    try:
        yield
    except (WarehouseBusy, StoreAway) as error:
        raise try_again() from dg.Failure(description=str(error))
    except (MemoryError, duckdb.OutOfMemoryException) as error:
        raise give_up(context, out_of_memory("this step", error)) from error
    except (UserError, OSError, duckdb.Error) as error:
        text = None if isinstance(error, UserError) else disk_problem(error, Home.from_environment().root)
        if text is None and isinstance(error, duckdb.Error):
            raise
        raise give_up(context, text or str(error)) from error


def try_again() -> dg.RetryRequested:
    """A failure that may pass, to be raised from a dagster.Failure, which says what failed after the last attempt."""
    return dg.RetryRequested(max_retries=MOST_RETRIES, seconds_to_wait=RETRY_SECONDS)


def give_up(context: dg.AssetExecutionContext | None, text: str) -> dg.Failure:
    """A permanent failure: Dagster does not retry the step, and the run is tagged GIVEN_UP."""
    if context is not None:
        context.instance.add_run_tags(context.run.run_id, {GIVEN_UP: "yes"})
    return dg.Failure(description=text, allow_retries=False)
