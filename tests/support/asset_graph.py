"""The asset graph as text, to be compared with `tests/dagster_project/asset_graph.yaml`. Run as a program, it writes
that file: `python -m tests.support.asset_graph`."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest
import yaml

from dagster_project.lib.keys import GROUPS

SNAPSHOT = Path(__file__).resolve().parents[1] / "dagster_project" / "asset_graph.yaml"
HEADER = "# Keys, groups, kinds and dependencies of all assets. Written by `python -m tests.support.asset_graph`.\n"


@contextmanager
def specs_in(home: Path) -> Iterator[list[dg.AssetSpec]]:
    """The assets of the code location, with dbt's manifest in a home; the environment is put back afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DAGSTER_HOME", "DBT_TARGET_PATH", "DBT_LOG_PATH", "PATH"):
            patch.setenv(name, os.environ.get(name, ""))
        patch.setenv("REWARDBASE_HOME", str(home))
        from dagster_project.definitions import defs
        from dagster_project.environment import prepare

        prepare()
        yield list(defs().resolve_all_asset_specs())


def as_text(specs: list[dg.AssetSpec]) -> str:
    """One line per asset, in the order of groups and keys."""
    order = list(GROUPS)
    specs = sorted(specs, key=lambda spec: (order.index(str(spec.group_name)), spec.key.to_user_string()))
    lines = []
    for spec in specs:
        asset = {"group": spec.group_name, "kinds": sorted(spec.kinds)}
        asset["deps"] = sorted(dep.asset_key.to_user_string() for dep in spec.deps)
        text = yaml.safe_dump(asset, sort_keys=False, default_flow_style=True, width=10_000)
        lines.append(f"{spec.key.to_user_string()}: {text}")
    return HEADER + "".join(lines)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, specs_in(Path(folder)) as found:
        SNAPSHOT.write_text(as_text(found))
