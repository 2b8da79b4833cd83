"""Expected failures as Dagster failures: the message for the person, no traceback, no retry."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from models_train.parts import PartError
from models_train.study_yaml import StudyError
from warehouse.connection import WarehouseError
from warehouse.landing import LandingError
from warehouse.marts import MartError
from warehouse.publish_gate import PublishError
from warehouse.reports.page import ReportError
from warehouse.seeds import SeedError

EXPECTED = (
    StudyError,
    SeedError,
    PartError,
    LandingError,
    WarehouseError,
    MartError,
    ReportError,
    PublishError,
    OSError,
)


@contextmanager
def told() -> Iterator[None]:
    """Turn errors that are meant for people into a dagster.Failure with the same words; let others pass."""
    try:
        yield
    except EXPECTED as error:
        raise dg.Failure(description=str(error), allow_retries=False) from error
