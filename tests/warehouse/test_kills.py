"""`kill -9` in the middle of landing, dbt and publishing: the short form of `make bench`'s 200 kills."""

from __future__ import annotations

import random
from collections.abc import Iterator

import duckdb
import pytest

from tests.support.kill_targets import STEPS
from tests.support.kills import Kills, acknowledged_parts, contents, doubled, left_as_it_lies, lost, snapshot_id
from warehouse.connection import write

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def kills(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kills]:
    with Kills(tmp_path_factory.mktemp("kills")) as made:
        yield made


def test_kills_leave_what_an_undisturbed_refresh_does(kills: Kills) -> None:
    outcomes = kills.in_one_refresh(3, random.Random(0))
    assert [(one.step, one.n_kills, one.problems) for one in outcomes] == [(step, 3, []) for step in STEPS]


def test_damage_is_noticed(kills: Kills) -> None:
    """The checks can fail: each on a home that has what it looks for."""
    home = kills.home
    whole, snapshot = contents(home), snapshot_id(home)
    acknowledged = acknowledged_parts(home)
    assert left_as_it_lies(home, snapshot, snapshot) == lost(home, acknowledged) == doubled(home) == []
    with write(home.warehouse) as connection:
        connection.execute("insert into raw.run_costs from raw.run_costs limit 1")
        connection.execute("delete from audit.landed_parts where file = ?", [acknowledged[0]])
        connection.execute("update marts.dim_base_models set family = 'x'")
    assert doubled(home) == ["raw.run_costs has doubled keys: (1,)"]
    gone = [acknowledged[0], acknowledged[0].replace("/new-", "/old-")]
    assert lost(home, acknowledged) == [f"acknowledged part {name} is lost" for name in gone]
    after = contents(home)
    assert {name for name in whole if whole[name] != after[name]} == {"raw.run_costs", "marts.dim_base_models"}
    (home.parts / acknowledged[1]).write_bytes(b"half a")
    assert len(left_as_it_lies(home, snapshot, snapshot)) == 1
    assert "the pointer shows" in left_as_it_lies(home, "another", "another")[0]
    home.current.unlink()
    with pytest.raises(duckdb.Error):
        left_as_it_lies(home, snapshot, snapshot)
