"""The section on reward models and benchmarks: there only with scores beyond RewardBench, and what it says of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import polars as pl
import pytest

from tests.support import marts_database
from tests.support.marts_database import HOSTILE
from warehouse.reports import topics
from warehouse.reports.elements import Figure, Section
from warehouse.reports.export import panel_specs
from warehouse.reports.tables import Table
from warehouse.reports.topics import benchmark_scores

ROWS: dict[str, tuple[str, list[tuple]]] = {
    "fct_benchmark_scores": (
        "reward_id kind benchmark metric value low high n is_comparable status",
        [
            ("a", "trained", "rewardbench", "score", 71.5, 70.0, 73.0, 2985, True, "ok"),
            ("b", "trained", "rewardbench", "score", 70.5, 69.0, 72.0, 2985, True, "ok"),
            ("hub:c", "imported", "rewardmath", "accuracy", 22.2, 18.5, 25.9, 483, True, "ok"),
            ("a", "trained", "rewardmath", "accuracy", 5.0, None, None, 7, False, "fewer than 8 items: no interval"),
        ],
    ),
    "fct_benchmark_groups": (
        "benchmark reward_id best_place worst_place n_compared n_worse",
        [
            ("rewardbench", "a", 1, 2, 1, 0),
            ("rewardbench", "b", 1, 2, 1, 0),
            ("rewardmath", "hub:c", 1, 1, 1, 1),
            ("rewardmath", "a", 2, 2, 1, 0),
        ],
    ),
    "fct_benchmark_rank_correlations": (
        "benchmark_a benchmark_b n_rewards spearman low high status",
        [
            ("rewardbench", "rewardmath", 3, -1.0, None, None, "fewer than 4 rewards: no interval"),
            ("rewardbench", "rm_bench", 9, 0.4, -0.2, 0.8, "ok"),
        ],
    ),
    "fct_error_correlations": (
        "benchmark reward_a reward_b base_a base_b phi excess",
        [
            ("rewardbench", "a", "b", "llama", "llama", 0.4, 0.1),
            ("rewardbench", "a", "hub:c", "llama", None, 0.1, 0.0),
        ],
    ),
    "fct_herding": (
        "benchmark base_relation data_relation n_reward_pairs n_rewards mean_phi low high all_wrong "
        "all_wrong_if_independent status",
        [
            ("rewardbench", "all", "all", 2, 3, 0.25, None, None, 0.1, 0.05, "fewer than 4 rewards: no interval"),
            ("rewardbench", "same", "different", 1, 2, 0.4, 0.3, 0.5, 0.2, 0.1, "ok"),
        ],
    ),
    "fct_family_preference": (
        "benchmark reward_family generator_family is_own_family n_rewards n_other_rewards n_items preference low high "
        "status",
        [
            ("rewardmath", "llama", "llama", True, 2, 2, 300, 0.82, 0.6, 1.0, "ok"),
            ("rewardmath", "llama", "gemma", False, 2, 2, 300, -0.1, -0.3, 0.1, "ok"),
        ],
    ),
}


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    path = marts_database.write_marts(tmp_path / "snapshot.duckdb", [marts_database.small_study()])
    with duckdb.connect(str(path)) as opened:
        for name, (columns, rows) in ROWS.items():
            frame = pl.DataFrame(rows, schema=columns.split(), orient="row").with_columns(study_id=pl.lit("published"))
            if name == "fct_benchmark_scores":
                frame = frame.with_columns(is_main=pl.lit(True), n_ties=pl.lit(0), n_errors=pl.lit(0))
            opened.register("frame", frame.to_arrow())
            opened.execute(f"create table marts.{name} as select * from frame")
            opened.unregister("frame")
        yield opened


def found(connection: duckdb.DuckDBPyConnection) -> Section:
    section = benchmark_scores.section(marts_database.study_of(connection))
    assert section is not None
    return section


def test_the_section_is_there_only_with_scores_beyond_rewardbench(connection: duckdb.DuckDBPyConnection) -> None:
    study = marts_database.study_of(connection)
    assert "reward-benchmarks" in [section.key for section in topics.sections(study)]
    connection.execute("delete from marts.fct_benchmark_scores where benchmark = 'rewardmath'")
    assert benchmark_scores.section(study) is None
    connection.execute("update marts.fct_benchmark_scores set kind = 'imported' where reward_id = 'b'")
    assert benchmark_scores.section(study) is not None
    connection.execute("drop table marts.fct_benchmark_scores")
    assert benchmark_scores.section(study) is None


def test_groups_stand_in_place_of_ranks(connection: duckdb.DuckDBPyConnection) -> None:
    section = found(connection)
    assert section.headlines == (
        (
            "RewardBench",
            "a",
            "71.5 (70.0 to 73.0), 2985 items; clearly better than 0 of 1 other; not distinguishable "
            "from the best: b 70.5",
        ),
        ("RewardMATH", "hub:c", "22.2 (18.5 to 25.9), 483 items; clearly better than 1 of 1 other"),
    )
    (places,) = [item for item in section.items if isinstance(item, Table) and "Places" in item.title]
    cells = {(row[0].text, row[1].text): [cell.text for cell in row[2:]] for row in places.cells}
    assert cells["a", "RewardBench"] == ["71.5", "1 to 2", "2985", "–"]
    assert cells["a", "RewardMATH"] == ["5.0", "2", "7", "Fewer than 8 items: no interval."]


def test_every_chart_is_drawn_with_its_numbers(connection: duckdb.DuckDBPyConnection) -> None:
    texts = {
        figure.name: [row["text"] for row in values(figure)]
        for figure in (item for item in found(connection).items if isinstance(item, Figure))
    }
    assert texts["published_benchmark_matrix"] == ["71.5 ± 1.5", "5.0°", "70.5 ± 1.5", "22.2 ± 3.7"]
    assert sorted(texts["published_benchmark_ranks"]) == ["0.40 (n = 9)"] * 2 + ["n = 3"] * 2
    assert sorted(texts["published_herding"]) == ["0.10", "0.10", "0.40"]
    assert texts["published_family_preference"] == ["−0.10", "+0.82*"]


def values(figure: Figure) -> list[dict]:
    """Rows of the data of a figure's first panel that have a text."""
    (spec, *_) = panel_specs(figure)
    sets = [spec.get("data", {}).get("values", []), *spec.get("datasets", {}).values()]
    return next(rows for rows in sets if rows and "text" in rows[0])


def test_a_study_of_imported_scores_alone_has_figures_that_say_why_they_are_empty(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    for name in ("rank_correlations", "groups"):
        connection.execute(f"delete from marts.fct_benchmark_{name}")
    for name in ("error_correlations", "herding", "family_preference"):
        connection.execute(f"delete from marts.fct_{name}")
    empty = [item for item in found(connection).items if isinstance(item, Figure) and not item.panels]
    assert len(empty) == 3 and all(figure.empty.endswith(".") for figure in empty)


def test_hostile_names_stay_text(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("update marts.fct_benchmark_scores set reward_id = ? where reward_id = 'hub:c'", [HOSTILE])
    connection.execute("update marts.fct_benchmark_groups set reward_id = ? where reward_id = 'hub:c'", [HOSTILE])
    assert found(connection).headlines[1][1] == HOSTILE
