"""Frames shared by the tests of the performance model."""

from __future__ import annotations

import polars as pl
import pytest

from models_train.selection.design import Design
from models_train.selection.leave_out import LeaveOut, leave_out
from tests.support import published_frames, selection_frames
from tests.support.selection_frames import make_design


@pytest.fixture(scope="session")
def published() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Features and results of the published study."""
    return published_frames.features(), published_frames.results()


@pytest.fixture(scope="session")
def small() -> tuple[pl.DataFrame, pl.DataFrame]:
    """A simulated study of 20 models from 5 publishers with 4 benchmarks."""
    return selection_frames.simulated(7, publishers=(4, 5, 3, 4, 4), n_benchmarks=4)


@pytest.fixture(scope="session")
def small_design(small: tuple[pl.DataFrame, pl.DataFrame]) -> Design:
    """Design of the small study."""
    return make_design(*small)


@pytest.fixture(scope="session")
def small_fits(small_design: Design) -> LeaveOut:
    """All nested fits of the small study."""
    return leave_out(small_design)
