"""Expected failures as Dagster failures: the message for the person, no traceback; a retry for what may pass only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from models_train.errors import UserError
from warehouse.connection import WarehouseBusy
from warehouse.marts import MartError
from warehouse.reports.errors import ReportError

EXPECTED = (
    UserError,
    MartError,
    ReportError,
    OSError,
)

WAREHOUSE_RETRIES = dg.RetryPolicy(max_retries=2, delay=30, backoff=dg.Backoff.EXPONENTIAL)
"""Of steps that open the warehouse: another program may have it open for a while."""
JOB_RETRIES = dg.RetryPolicy(max_retries=2, delay=20, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)
"""Of steps that run a job: the network, memory that another program took, a process that was killed."""
HUB_RETRIES = dg.RetryPolicy(max_retries=2, delay=15, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)
"""Of the question to a hub."""
GIVEN_UP = "rewardbase/given_up"
"""Tag of a run that failed for a reason which does not pass by itself: sensors do not start its work again."""


@contextmanager
def told(context: dg.AssetExecutionContext | None = None) -> Iterator[None]:
    """Turn errors that are meant for people into a dagster.Failure with the same words; let others pass.

    Only a busy warehouse may pass by itself: nothing else is tried again, and the run of the context is marked so.
    """
    try:
        yield
    except EXPECTED as error:
        if isinstance(error, WarehouseBusy):
            raise dg.Failure(description=str(error)) from error
        raise give_up(context, str(error)) from error


def give_up(context: dg.AssetExecutionContext | None, text: str) -> dg.Failure:
    """The failure of work that will not succeed if it is only tried again; its run is marked so."""
    if context is not None:
        context.instance.add_run_tags(context.run.run_id, {GIVEN_UP: "yes"})
    return dg.Failure(description=text, allow_retries=False)
