"""The section on base and data: its sentences carry errors, and such a study has no section of RewardBench's scores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from tests.support import marts_database
from warehouse.reports import topics
from warehouse.reports.topics import base_and_data


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A study beside another that has two bases with two training sets each, and one base with one."""
    studies = [marts_database.small_study(), marts_database.small_study("other", suffix=" b")]
    path = marts_database.write_marts(tmp_path / "snapshot.duckdb", studies)
    with duckdb.connect(str(path)) as opened:
        for table in ("fct_reward_model_results", "fct_size_group_gains", "fct_size_group_winners"):
            opened.execute(f"delete from marts.{table} where study_id = 'other'")
        opened.execute(
            """
            create table marts.fct_base_by_data_results as
            select 'other' as study_id, 'average' as category, *, 25.0 as chance, 'Table 1' as paper_table
            from (
                values ('a', 'x', 60.0, true, 61.0, 59.0, 1.0), ('a', 'y', 62.0, true, 61.0, 63.0, -1.0),
                    ('b', 'x', 58.0, true, 61.0, 59.0, -1.0), ('b', 'y', 64.0, true, 61.0, 63.0, 1.0),
                    ('c', 'x', 70.0, false, null, null, null)
            ) as t (model_id, training_data, value, is_in_grid, base_mean, data_mean, residual);
            create table marts.fct_base_and_data_effects as
            select 'other' as study_id, 'average' as category, 2 as n_bases, 2 as n_data, *, 2.0 as residual_deviation
            from (
                values ('base', 1, 0.2, 0.1, 1.4), ('data', 1, 0.5, 0.2, 1.5), ('rest', 1, 0.3, 0.15, null)
            ) as t (effect, degrees_of_freedom, share, share_error, standard_error_of_mean);
            """
        )
        yield opened


def test_shares_and_means_carry_their_errors(connection: duckdb.DuckDBPyConnection) -> None:
    section = base_and_data.section(marts_database.study_of(connection, "other"))
    assert section is not None
    first, means, beside = section.paragraphs
    assert "the base explains 0.20 ± 0.10, the data 0.50 ± 0.20, and 0.30 ± 0.15 is the rest" in first
    assert first.endswith("not distinguishable.")
    assert "Means of the bases (± 1.4 each): a 61.0, b 61.0." in means
    assert "Means of the training sets (± 1.5): y 63.0, x 59.0." in means
    assert "chance is 25 and not 50" in beside and "by Regression (6 bases" in beside
    figure, table = section.items
    assert figure in section.figures and "n = 4 reward models" in figure.caption
    assert len(table.rows) == 5 and table.cells[0][0].text == "c", "best base first"


def test_such_a_study_has_no_sections_of_other_scores(connection: duckdb.DuckDBPyConnection) -> None:
    other = topics.sections(marts_database.study_of(connection, "other"))
    assert [section.key for section in other] == ["base-and-data", "sources"]
    keys = [section.key for section in topics.sections(marts_database.study_of(connection))]
    assert keys[0] == "answer" and "base-and-data" not in keys
