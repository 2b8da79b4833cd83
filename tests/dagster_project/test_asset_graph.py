"""The asset graph: unchanged by accident, and read from left to right."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
import pytest

from dagster_project.lib.keys import GROUPS
from tests.support.asset_graph import SNAPSHOT, as_text, specs_in

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def specs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[dg.AssetSpec]]:
    with specs_in(tmp_path_factory.mktemp("home")) as found:
        yield found


def test_the_graph_is_the_recorded_one(specs: list[dg.AssetSpec]) -> None:
    """After an intended change: `python -m tests.support.asset_graph`, and look at the difference."""
    assert as_text(specs) == SNAPSHOT.read_text()


def test_no_asset_depends_on_a_later_group(specs: list[dg.AssetSpec]) -> None:
    order = {name: place for place, name in enumerate(GROUPS)}
    group_of = {spec.key: str(spec.group_name) for spec in specs}
    assert set(group_of.values()) == set(GROUPS), "every group has assets, and every asset a known group"
    arrows = {(group_of[dep.asset_key], group_of[spec.key]) for spec in specs for dep in spec.deps}
    assert {(before, after) for before, after in arrows if order[before] > order[after]} == set()
