"""User errors as Dagster failures, without a traceback; retry policies for failures that may pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from models_train.errors import UserError
from warehouse.connection import WarehouseBusy

WAREHOUSE_RETRIES = dg.RetryPolicy(max_retries=2, delay=30, backoff=dg.Backoff.EXPONENTIAL)
"""For steps that open the warehouse: another program may have it open for a while."""
JOB_RETRIES = dg.RetryPolicy(max_retries=2, delay=20, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)
"""For steps that run a job: network failures, memory that another program took, killed processes."""
HUB_RETRIES = dg.RetryPolicy(max_retries=2, delay=15, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)
"""For the query to a hub."""
GIVEN_UP = "rewardbase/given_up"
"""Tag of a run that failed for a permanent reason: sensors do not start its work again."""


@contextmanager
def as_dagster_failure(context: dg.AssetExecutionContext | None = None) -> Iterator[None]:
    """Re-raise user errors as dagster.Failure with the same message; other errors keep their traceback.

    Only a busy warehouse is tried again. After any other failure the run of the context is tagged GIVEN_UP.
    """
    try:
        yield
    except (UserError, OSError) as error:
        if isinstance(error, WarehouseBusy):
            raise dg.Failure(description=str(error)) from error
        raise give_up(context, str(error)) from error


def give_up(context: dg.AssetExecutionContext | None, text: str) -> dg.Failure:
    """A permanent failure: Dagster does not retry the step, and the run is tagged GIVEN_UP."""
    if context is not None:
        context.instance.add_run_tags(context.run.run_id, {GIVEN_UP: "yes"})
    return dg.Failure(description=text, allow_retries=False)
