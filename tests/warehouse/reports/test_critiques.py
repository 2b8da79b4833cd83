"""The section on critiques: what own critiques gain over Bradley-Terry and the placebo, in words, chart and tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from tests.support import marts_database
from tests.support.marts_database import HOSTILE
from warehouse.reports.elements import Study
from warehouse.reports.topics import critiques

GAINS = """
    select 'published' as study_id, 'alpha' as model_id, 'rewardbench' as benchmark, *, accuracy - 2.0 as low,
        accuracy + 2 as high, 2.0::double as standard_error, gain_points - 3 as gain_low, gain_points + 3 as gain_high,
        placebo_points - 3 as placebo_low, placebo_points + 3 as placebo_high, 0.5::double as percent_without_reward,
        800 as n_items, 2 as n_items_left_out
    from (values ('none', 0, 80.0::double, null::double, null::double, 90.0::double),
        ('others', 1, 78.0, -2.0, null, 230.0),
        ('own', 1, 82.0, 2.0, 4.0, 230.0), ('own', 4, 86.0, 6.0, 2.0, 600.0), ('true', 1, 99.0, 19.0, 21.0, 120.0))
        as t (critiques, n_critiques, accuracy, gain_points, placebo_points, tokens_per_answer)
"""
EXAMPLES = """
    select 'published' as study_id, 'alpha/critique' as reward_id, 'rewardbench' as benchmark, 'hep' as subset,
        '1' as item_id, *, 'stop' as finish_reason
    from (values ('chosen', true, $text, 1.25::double, 'ok'), ('rejected', false, 'Cut', null, 'the critique was cut'))
        as t (completion, is_correct, text, reward, status)
"""
TRAININGS = """
    select 'published' as study_id, 'alpha' as model_id, 'own' as critiques, 'template' as source, 60 as n_tuned_on,
        0.5::double as tuning_loss, 10 as n_tuning_tokens, 10 as n_written_tokens, 80 as n_pairs, 60 as n_kept,
        0.75::double as share_kept, 12 as n_contradicting, 4 as n_tied, 3 as n_without_score, 1 as n_without_critique,
        1e-3::double as learning_rate, 75.0::double as validation_accuracy, 20 as n_validation_pairs
"""


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    path = marts_database.write_marts(tmp_path / "snapshot.duckdb", [marts_database.small_study()])
    with duckdb.connect(str(path)) as opened:
        yield opened


def study(connection: duckdb.DuckDBPyConnection) -> Study:
    return Study(connection, "published", "Published", "a test", False, "published")


def test_a_study_without_critiques_has_no_section(connection: duckdb.DuckDBPyConnection) -> None:
    assert critiques.section(study(connection)) is None


def test_four_kinds_with_their_cost(connection: duckdb.DuckDBPyConnection) -> None:
    for name, query in (("fct_critique_gains", GAINS), ("fct_critique_trainings", TRAININGS)):
        connection.execute(f"create or replace table marts.{name} as {query}")
    connection.execute(f"create or replace table marts.fct_critique_examples as {EXAMPLES}", {"text": HOSTILE})
    found = critiques.section(study(connection))
    assert found is not None
    sentence = found.paragraphs[1]
    assert "with 4 critiques per answer the accuracy is 86.0 %" in sentence
    assert "better than Bradley-Terry by +6.0 points (+3.0 to +9.0)" in sentence
    assert "not told apart from the placebo: +2.0 points" in sentence and "costs 600 tokens" in sentence
    figure, gains, examples, trainings = found.items
    (panel,) = figure.panels
    rows = panel.chart.to_dict()["datasets"].popitem()[1]
    assert [row["row"] for row in rows] == [
        "Bradley-Terry, no critique",
        "others' critiques (placebo), 1 each",
        "own critiques, 1 each",
        "own critiques, 4 each",
        "true critiques (upper bound)",
    ]
    assert [row["tokens_text"] for row in rows][-2:] == ["600 tokens", "120 tokens"]
    assert [cell.text for cell in gains.cells[3]][3] == "86.0"
    right, wrong = examples.cells
    assert (right[0].text, right[2].text) == ("right", "1.25")
    assert (wrong[1].text, wrong[2].text, wrong[2].note) == ("Cut.", "–", "the critique was cut")
    assert [cell.text for cell in trainings.cells[0]][4:7] == ["80", "75\u00a0%", "12"]
