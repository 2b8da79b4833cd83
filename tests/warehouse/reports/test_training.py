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

from tests.support.marts_database import study_of
from tests.support.report_pages import specifications
from tests.support.training_database import write_training_marts
from warehouse.reports import export, page, queries
from warehouse.reports.elements import Figure, StudyPage
from warehouse.reports.topics import costs, results, training

CREATED = datetime(2025, 5, 16, 12, 30, tzinfo=UTC)
HOSTILE = "</script><script>alert(1)</script>'\"&"
READERS = {
    results.subsets: "fct_reward_model_subsets",
    results.comparisons: "fct_reward_model_comparisons",
    training.rate_search: "fct_learning_rate_search",
    training.learning_curves: "fct_learning_curves",
    training.rows_dropped: "fct_training_rows_dropped",
    costs.run_costs: "fct_run_costs",
}
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
    return page.study_page(connection, queries.studies(connection).row(0, named=True), "lab")


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
    found = text.split(f'<section class="view" id="lab/{key}"')[1].split("</section>")[0]
    return html.unescape(re.sub(r"<script.*?</script>|<[^>]+>", " ", found, flags=re.S))


def test_sections_stand_after_the_results_and_are_called_synthetic(text: str) -> None:
    keys = re.findall(r'<section class="view" id="lab/([a-z-]+)"', text)
    assert keys[keys.index("results") :] == ["results", "training", "curves", "costs", "sources"]
    for key in ("results", "training", "costs"):
        assert "Synthetic: this study was made" in section(text, key)


def test_charts_of_search_and_curves_are_drawn(study_page: StudyPage, text: str, tmp_path: Path) -> None:
    figures = {item.name: item for part in study_page.sections for item in part.items if isinstance(item, Figure)}
    for name in ("rate_search_regression", "curves_loss_regression", "curves_validation_accuracy_bradley_terry"):
        figure = figures[f"lab_{name}"]
        (spec,) = export.write_specs([figure], {figure.name: export.panel_specs(figure)}, tmp_path)
        assert export.draw_picture(spec).stat().st_size > 5_000
    assert '<label for="lab_curves_loss_regression-choice">Base model</label>' in text
    specification = specifications(text)["lab_rate_search_regression-0"]
    assert '"type": "log"' in json.dumps(specification)
    rows = next(iter(specification["datasets"].values()))
    assert [row["is_selected"] for row in rows] == [False, True]
    assert [row["learning_rate"] for row in rows] == [5e-7, 1e-6]


def test_selection_bias_and_cost_of_the_search_are_stated(text: str) -> None:
    plain = section(text, "training")
    assert (
        "Regression: choosing rate, checkpoint and merge vector by the validation pairs overstates their accuracy by "
        "+3.0 points on average, from +2.0 to +4.0 over 3 models. Chosen on half of the validation prompts, a reward "
        "model wins 67.0 % of the pairs there and 64.0 % on the other half." in " ".join(plain.split())
    )
    assert "Bradley-Terry: choosing rate and checkpoint by" in plain
    assert "3,200 optimizer steps: 44\u00a0% of the 7,200" in plain
    assert "12 training runs failed (model-2B-0, Regression, 5e-06-s0: failed for model-2B-0" in " ".join(plain.split())
    assert "The search of model-4B-0 (Regression) and model-4B-0 (Bradley-Terry) gave no reward model." in plain


def test_rows_that_were_not_trained_on_are_counted_by_reason(text: str) -> None:
    plain = " ".join(section(text, "training").split())
    assert (
        "Regression: of the 7,000 training rows of the data, left out are at most 3 over-long ones, 3 of prompts that "
        "validate and 21 ties." in plain
    )
    assert "Bradley-Terry: of the 7,000 training rows of the data, none was dropped." in plain


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
        lab = study_of(connection, "lab")
        frame = results.reward_model_results(lab).filter(objective="regression")
        rows = {row[0].text: row for row in results.results_table(frame, "regression", lab).cells}
    assert not rows["model-4B-0"][6].best and rows["model-4B-0"][6].text == "99.0"
    assert sum(row[6].best for row in rows.values()) == 1


def test_subsets_without_pairs_are_a_dash_and_ties_and_errors_are_named(make: Make) -> None:
    with make() as connection:
        lab = study_of(connection, "lab")
        frame = results.subsets(lab).filter(objective="regression")
    table = results.subset_table(frame, "regression", lab)
    models = ["model-2B-0", "model-2B-1", "model-2B-2"]
    assert [column.heading for column in table.columns] == ["Subset", "Category", "Pairs", *models]
    cells = {row[0].text: [(cell.text, cell.note) for cell in row[1:]] for row in table.cells}
    assert list(cells) == ["alpacaeval-easy", "math-prm", "hep-go", "own subset"]  # nobody has donotanswer
    assert cells["alpacaeval-easy"][-1] == ("–", "")
    assert cells["math-prm"][2:] == [("49.9", ""), ("49.9", "1 tie"), ("49.9", "3 ties, 2 errors")]
    assert cells["own subset"][0] == ("not RewardBench's", "") and cells["own subset"][1][0] == "–"


def test_comparisons_show_both_counts_and_one_p(text: str) -> None:
    plain = " ".join(section(text, "results").split())
    assert "against the default model-2B-0 <3 B +5.6 +2.1 to +9.0 +1.2 to +9.9 101 60 711 < 0.001" in plain


@pytest.mark.parametrize(
    ("variant", "shown"),
    [("regression", "Regression"), ("bradley_terry/s12", "Bradley-Terry, seed 12"), ("packed", "packed")],
)
def test_costs_name_the_seed(variant: str, shown: str) -> None:
    assert costs.purpose(variant) == shown


def test_costs_are_summed_and_cpu_time_stands_apart(make: Make, text: str) -> None:
    plain = " ".join(section(text, "costs").split())
    assert "In all 20.0 GPU hours for 9,000,000 tokens through 4 models." in plain
    assert "At 2.5 USD per GPU hour that is 50.00 USD." in plain
    assert "Device hours" in plain and "2 × NVIDIA H200" in plain
    with make() as connection:
        connection.execute("update marts.fct_run_costs set usd = null, usd_per_gpu_hour = null")
        lab = study_of(connection, "lab")
        unpriced = costs.run_costs(lab)
    assert "no cost in money is given" in costs.totals(unpriced)
    table = costs.cost_table(unpriced.filter("is_gpu"), lab)
    assert {"USD", "Device hours"}.isdisjoint(column.heading for column in table.columns)


def test_readers_keep_one_order_and_are_empty_for_other_studies(make: Make) -> None:
    with make() as connection:
        lab = study_of(connection, "lab")
        for reader, mart in READERS.items():
            frame = reader(lab)
            assert frame.height > 0 and "study_id" not in frame.columns
            assert frame.equals(reader(lab)), reader.__name__
            assert reader(study_of(connection, "no such study")).height == 0
            connection.execute(f"drop table marts.{mart}")
            assert reader(lab).columns == []
        assert training.section(lab) is None and training.curves_section(lab) is None and costs.section(lab) is None


def test_curves_are_thinned_for_the_page(make: Make) -> None:
    with make() as connection:
        few = training.learning_curves(study_of(connection, "lab")).filter(
            objective="regression", model_id="model-2B-0"
        )
    counts = dict(few.group_by("training_run").len().iter_rows())
    assert counts["1e-06-s0"] == 200
    assert 40 <= counts["5e-07-s0"] <= 60
    kept = few.filter(pl.col("checkpoint_step").is_not_null())
    assert dict(kept.group_by("training_run").len().iter_rows()) == dict.fromkeys(counts, 10)
    with make(n_models=training.MANY_MODELS + 1) as connection:
        many = training.learning_curves(study_of(connection, "lab"))
    assert many["is_selected"].all()
    assert 100 <= many.filter(objective="regression", model_id="model-2B-0").height <= 110


def test_hostile_names_stay_text(make: Make) -> None:
    with make(suffix=HOSTILE) as connection:
        text = as_text(written(connection))
    assert "<script>alert" not in text and "alert(1)" in section(text, "training")


def test_a_study_without_training_has_no_such_sections(ordinary: duckdb.DuckDBPyConnection) -> None:
    published = study_of(ordinary)
    assert training.section(published) is None and costs.section(published) is None
    found = results.section(published)
    assert [item.name for item in found.items] == ["published_results_regression", "published_results_bradley_terry"]
    assert found.paragraphs == ("Select a heading to sort by it.",)
