"""The report of a study that trains its own reward models: search, curves, costs, subsets, and what is missing."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import duckdb
import polars as pl
import pytest

from tests.support.training_database import write_training_marts
from warehouse import marts, training_marts
from warehouse.reports import export, page, results, sections, training, training_tables
from warehouse.reports.pieces import Figure, StudyPage

CREATED = datetime(2025, 5, 16, 12, 30, tzinfo=UTC)
HOSTILE = "</script><script>alert(1)</script>'\"&"
READERS = (
    training_marts.subsets,
    training_marts.comparisons,
    training_marts.rate_search,
    training_marts.learning_curves,
    training_marts.run_costs,
)
Make = Callable[..., duckdb.DuckDBPyConnection]


@pytest.fixture(scope="module")
def make(builder: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Builds a database of one study with training marts for its first models; the caller closes it."""

    def build(n_models: int = 4, suffix: str = "", synthetic: bool = False) -> duckdb.DuckDBPyConnection:
        study = builder.small_study("lab", suffix=suffix, synthetic=synthetic, per_group=3)
        path = builder.write_marts(tmp_path_factory.mktemp("training") / "w.duckdb", [study])
        names = study.models["model_id"].to_list()
        connection = duckdb.connect(str(path))
        chosen = names[:n_models] + [f"more {number}" for number in range(n_models - len(names))]
        write_training_marts(connection, "lab", chosen)
        return connection

    return build


def written(connection: duckdb.DuckDBPyConnection) -> StudyPage:
    """All that the report shows of the study, without the pictures beside it."""
    return sections.study_page(connection, marts.studies(connection).row(0, named=True), "lab")


def as_text(study: StudyPage) -> str:
    figures = [item for part in study.sections for item in part.items if isinstance(item, Figure)]
    specs = {figure.name: export.panel_specs(figure) for figure in figures}
    return page.render_page([study], specs, "snapshot", CREATED)


@pytest.fixture(scope="module")
def study_page(make: Make) -> StudyPage:
    with make(synthetic=True) as connection:
        connection.execute(
            "update marts.fct_reward_model_results set status = 'incomplete', is_comparable = false, chat = null, "
            "score = null, status_reason = 'no pairs of chat' where model_id = 'model-4B-0' "
        )
        connection.execute(
            "delete from marts.fct_reward_model_results where model_id = 'model-8B-1' and objective = 'regression'"
        )
        return written(connection)


@pytest.fixture(scope="module")
def text(study_page: StudyPage) -> str:
    return as_text(study_page)


def section(text: str, key: str) -> str:
    """One section as a reader sees it: without markup and scripts."""
    found = text.split(f'<section class="section" id="lab-{key}"')[1].split("</section>")[0]
    return html.unescape(re.sub(r"<script.*?</script>|<[^>]+>", " ", found, flags=re.S))


def test_sections_stand_after_the_results_and_are_called_synthetic(text: str) -> None:
    keys = re.findall(r'<section class="section" id="lab-([a-z-]+)"', text)
    assert keys[keys.index("results") :] == ["results", "training", "costs", "materials"]
    for key in ("results", "training", "costs"):
        assert "Synthetic: this study was made" in section(text, key)


def test_charts_of_search_and_curves_are_drawn(study_page: StudyPage, text: str, tmp_path: Path) -> None:
    figures = {item.name: item for part in study_page.sections for item in part.items if isinstance(item, Figure)}
    for name in ("rate_search_regression", "curves_loss_regression", "curves_validation_accuracy_bradley_terry"):
        figure = figures[f"lab_{name}"]
        _, picture = export.write_pictures(figure, export.panel_specs(figure), tmp_path)
        assert picture.stat().st_size > 5_000
    assert '<label for="lab_curves_loss_regression-choice">Base model</label>' in text
    specification = json.loads(text.split('id="lab_rate_search_regression-0">')[1].split("</script>")[0])
    assert '"type": "log"' in json.dumps(specification)
    rows = next(iter(specification["datasets"].values()))
    assert [row["is_selected"] for row in rows] == [False, True]
    assert [row["learning_rate"] for row in rows] == [5e-7, 1e-6]


def test_what_choosing_flatters_and_costs_is_said(text: str) -> None:
    plain = section(text, "training")
    assert (
        "Regression: choosing rate, checkpoint and merge vector by the validation pairs flatters their accuracy by "
        "+3.0 points on average, from +2.0 to +4.0 over 3 models. Chosen on half of the validation prompts, a reward "
        "model wins 67.0 % of the pairs there and 64.0 % on the other half." in " ".join(plain.split())
    )
    assert "Bradley-Terry: choosing rate and checkpoint by" in plain
    assert "3,200 optimizer steps: 44\u00a0% of the 7,200" in plain
    assert "12 training runs failed (model-2B-0, Regression, 5e-06-s0: failed for model-2B-0" in " ".join(plain.split())
    assert "No reward model came out of the search of model-4B-0 (Regression) and model-4B-0 (Bradley-Terry)" in plain


def test_missing_and_incomplete_results_are_told_apart(text: str) -> None:
    plain = " ".join(section(text, "results").split())
    assert "Regression: no result yet for 1 of 9 compared models: model-8B-1." in plain
    assert "Bradley-Terry: no result yet" not in plain
    assert "model-4B-0 Regression no No pairs of chat." in plain
    assert plain.count("model-4B-0 incomplete") == 2


def test_the_best_of_a_column_is_one_that_may_be_compared(make: Make) -> None:
    with make() as connection:
        connection.execute(
            "update marts.fct_reward_model_results set score = 99, is_comparable = false, status_reason = 'x' "
            "where model_id = 'model-4B-0'"
        )
        frame = marts.reward_model_results(connection, "lab").filter(objective="regression")
    rows = {row[0].text: row for row in results.tables.results(frame, "n", "regression").rows}
    assert not rows["model-4B-0"][6].best and rows["model-4B-0"][6].text == "99.0"
    assert sum(row[6].best for row in rows.values()) == 1


def test_subsets_without_pairs_are_a_dash_and_ties_and_errors_are_named(make: Make) -> None:
    with make() as connection:
        frame = training_marts.subsets(connection, "lab").filter(objective="regression")
    table = training_tables.subsets(frame, "n", "regression")
    models = ["model-2B-0", "model-2B-1", "model-2B-2"]
    assert [column.title for column in table.columns] == ["Subset", "Category", "Pairs", *models]
    cells = {row[0].text: [(cell.text, cell.note) for cell in row[1:]] for row in table.rows}
    assert list(cells) == ["alpacaeval-easy", "math-prm", "hep-go", "own subset"]  # nobody has donotanswer
    assert cells["alpacaeval-easy"][-1] == ("–", "")
    assert cells["math-prm"][2:] == [("49.9", ""), ("49.9", "1 tie"), ("49.9", "3 ties, 2 errors")]
    assert cells["own subset"][0] == ("not RewardBench's", "") and cells["own subset"][1][0] == "–"


def test_comparisons_show_both_counts_and_an_exact_p(text: str) -> None:
    plain = " ".join(section(text, "results").split())
    assert "model-2B-1 against model-2B-0 <3 B +5.6 +2.1 to +9.0 101 60 711 < 0.001" in plain


def test_costs_are_summed_and_cpu_time_stands_apart(make: Make, text: str) -> None:
    plain = " ".join(section(text, "costs").split())
    assert "In all 20.0 GPU hours for 9,000,000 tokens through 4 models." in plain
    assert "At 2.5 USD per GPU hour that is 50.00 USD." in plain
    assert "Device hours" in plain and "2 × NVIDIA H200" in plain
    with make() as connection:
        connection.execute("update marts.fct_run_costs set usd = null, usd_per_gpu_hour = null")
        unpriced = training_marts.run_costs(connection, "lab")
    paragraph = training.cost_section(unpriced, "lab").paragraphs[0]
    assert "no money is named" in paragraph
    (table,) = training.cost_section(unpriced.filter("is_gpu"), "lab").items
    assert {"USD", "Device hours"}.isdisjoint(column.title for column in table.columns)  # type: ignore[union-attr]


def test_readers_keep_one_order_and_are_empty_for_other_studies(make: Make) -> None:
    with make() as connection:
        for reader in READERS:
            frame = reader(connection, "lab")
            assert frame.height > 0 and "study_id" not in frame.columns
            assert frame.equals(reader(connection, "lab")), reader.__name__
            assert reader(connection, "no such study").height == 0
            mart = "fct_" + {"subsets": "reward_model_subsets", "comparisons": "reward_model_comparisons"}.get(
                reader.__name__, {"rate_search": "learning_rate_search"}.get(reader.__name__, reader.__name__)
            )
            connection.execute(f"drop table marts.{mart}")
            assert reader(connection, "lab").columns == []
        assert training.sections(connection, "lab", "lab") == ()


def test_curves_are_thinned_for_the_page(make: Make) -> None:
    with make() as connection:
        few = training_marts.learning_curves(connection, "lab").filter(objective="regression", model_id="model-2B-0")
    counts = dict(few.group_by("training_run").len().iter_rows())
    assert counts["1e-06-s0"] == 200
    assert 40 <= counts["5e-07-s0"] <= 60
    kept = few.filter(pl.col("checkpoint_step").is_not_null())
    assert dict(kept.group_by("training_run").len().iter_rows()) == dict.fromkeys(counts, 10)
    with make(n_models=training_marts.MANY_MODELS + 1) as connection:
        many = training_marts.learning_curves(connection, "lab")
    assert many["is_selected"].all()
    assert 100 <= many.filter(objective="regression", model_id="model-2B-0").height <= 110


def test_hostile_names_stay_text(make: Make) -> None:
    with make(suffix=HOSTILE) as connection:
        text = as_text(written(connection))
    assert "<script>alert" not in text and "alert(1)" in section(text, "training")


def test_a_study_without_training_has_no_such_sections(ordinary: duckdb.DuckDBPyConnection) -> None:
    assert training.sections(ordinary, "published", "published") == ()
    found = results.section(
        ordinary,
        "published",
        marts.reward_model_results(ordinary, "published"),
        marts.base_models(ordinary, "published"),
        "published",
    )
    assert [item.name for item in found.items] == ["published_results_regression", "published_results_bradley_terry"]
    assert found.paragraphs == ("Select a heading to sort by it.",)
