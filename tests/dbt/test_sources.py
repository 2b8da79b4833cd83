"""What dbt reads is what landing writes: every raw table of the contracts is a source, column by column."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from warehouse.contracts import REWARD_MODEL_TABLES, TABLES, describe

STAGING = Path(__file__).resolve().parents[2] / "dbt" / "models" / "staging"


@pytest.fixture(scope="module")
def sources() -> dict[str, dict[str, Any]]:
    """Source tables by name; a table that stands in two files fails here."""
    listed = [
        table
        for path in sorted(STAGING.glob("_sources_*.yml"))
        for source in yaml.safe_load(path.read_text())["sources"]
        for table in source["tables"]
    ]
    found = {table["name"]: table for table in listed}
    assert len(found) == len(listed)
    return found


def test_every_raw_table_is_a_source(sources: dict[str, dict[str, Any]]) -> None:
    assert set(sources) == set(TABLES)


@pytest.mark.parametrize("name", TABLES)
def test_columns_are_those_of_the_contract(sources: dict[str, dict[str, Any]], name: str) -> None:
    assert [column["name"] for column in sources[name]["columns"]] == TABLES[name].schema.names


@pytest.mark.parametrize("name", REWARD_MODEL_TABLES)
def test_descriptions_and_keys_are_those_of_the_contract(sources: dict[str, dict[str, Any]], name: str) -> None:
    table = TABLES[name]
    assert sources[name]["description"] == table.description
    described = {column["name"]: column["description"] for column in sources[name]["columns"]}
    assert described == {field.name: describe(field) for field in table.schema}
    assert sources[name]["data_tests"] == [{"grain": {"arguments": {"columns": list(table.key)}}}]
