"""`kill -9` in the middle of landing, dbt and publishing: the short form of `make bench`'s 200 kills."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from kill_targets import STEPS
from kills import Kills


@pytest.fixture(scope="module")
def kills(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kills]:
    with Kills(tmp_path_factory.mktemp("kills")) as made:
        yield made


@pytest.mark.parametrize("step", STEPS)
def test_kills_leave_what_an_undisturbed_refresh_does(kills: Kills, step: str) -> None:
    assert kills.of(step, 3, random.Random(f"short {step}"), in_a_row=3).problems == []
