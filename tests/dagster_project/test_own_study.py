"""A study that trains and scores for real: two tiny models through `make run`, from study file to snapshot."""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import duckdb
import pytest
import yaml

from tests.support.programs import MARK, files_with_secrets
from tests.support.trained_studies import EPOCHS, MODEL, PER_SUBSET, RANDOM, write_results

Run = Callable[..., CompletedProcess[str]]


@pytest.fixture(scope="module")
def own(trained: tuple[Path, CompletedProcess[str]]) -> tuple[Path, Path, str]:
    """Project, home and output of a run with two studies that train, this one and a small lab."""
    folder, done = trained
    return folder / "project", folder / "home", done.stdout


@pytest.fixture(scope="module")
def marts(own: tuple[Path, Path, str]) -> duckdb.DuckDBPyConnection:
    return duckdb.connect(str(own[1] / "published" / "current.duckdb"), read_only=True)


def test_a_first_run_publishes_the_studies_without_work_before_the_others(own: tuple[Path, Path, str]) -> None:
    _, _, said = own
    first, rest = said.split("This answer is published.")
    assert "published/snapshot" in first and "Two tiny models" not in first and "A small lab" not in first
    assert "parts/performance" not in first and "parts/performance" in rest, "predictions follow the answer"
    assert "make quick" in rest and "Making the lab" in rest and "Task 1 of" in rest
    assert rest.index("Task 1 of") < rest.index("published/snapshot") < rest.index("Two tiny models")


def test_each_piece_of_work_is_announced(own: tuple[Path, Path, str]) -> None:
    _, _, said = own
    assert "Task 1 of 16: mine: reward model of stories, bradley_terry" in said
    assert f"Task 9 of 16: mine: documents under {RANDOM}" in said
    assert f"Task 13 of 16: mine: benchmarks of {RANDOM}" in said


def test_no_secret_of_the_environment_is_left_anywhere(own: tuple[Path, Path, str]) -> None:
    """Logs, metadata, parts, checkpoints, cards, snapshot and report of jobs that ran with a token of the hub."""
    _, home, said = own
    assert files_with_secrets(home) == []
    assert MARK not in said


def test_a_bad_name_becomes_no_path(own: tuple[Path, Path, str]) -> None:
    """Files are named by hashes: nothing in or beside the home bears the model's name."""
    _, home, _ = own
    assert [path for path in home.rglob("*") if "alert(1)" in path.name or "drop table" in path.name] == []
    assert sorted(path.name for path in home.parent.iterdir() if "random" in path.name) == ["random"]


def test_missing_categories_are_missing_and_not_zero(marts: duckdb.DuckDBPyConnection) -> None:
    rows = marts.execute(
        "select model_id, objective, chat, safety, score, chat_hard, reasoning, status, status_reason, n_pairs "
        "from fct_reward_model_results where study_id = 'mine'"
    ).fetchall()
    assert {row[:2] for row in rows} == {
        (model, objective) for model in ("stories", RANDOM) for objective in ("bradley_terry", "regression")
    }
    for row in rows:
        assert row[2:4] == (None, None), "Chat and Safety are not in the test set"
        assert 0 < row[5] < 100 and 0 < row[6] < 100
        assert row[4] == pytest.approx((row[5] + row[6]) / 2), "the score is the mean of what the test set has"
        assert row[7] == "incomplete" and "chat" in row[8]
        # Over-long completions are errors, not lost pairs.
        assert 30 < row[9] <= 12 * PER_SUBSET


def test_the_marts_count_what_the_rewards_say(own: tuple[Path, Path, str], marts: duckdb.DuckDBPyConnection) -> None:
    """Chat Hard from the item rows of the parts, by hand."""
    files = own[1] / "parts" / "completion_rewards" / "mine" / "*.parquet"
    rows = duckdb.sql(
        f"select reward_id, subset, item_id, completion, reward from '{files}' "
        "where attribute in ('reward', 'merged') and status = 'ok' and subset like 'llmbar%'"
    ).fetchall()
    rewards = {row[:4]: row[4] for row in rows}
    seed = own[0] / "dbt" / "seeds" / "rewardbench_subsets.csv"
    weights = dict(duckdb.sql(f"select subset, weight from '{seed}'").fetchall())
    for model, objective, printed in marts.execute(
        "select model_id, objective, chat_hard from fct_reward_model_results where study_id = 'mine'"
    ).fetchall():
        won: dict[str, list[bool]] = {}
        for key, reward in rewards.items():
            if key[0] == f"{model}/{objective}" and key[3] == "chosen" and (*key[:3], "rejected") in rewards:
                won.setdefault(key[1], []).append(reward > rewards[(*key[:3], "rejected")])
        assert len(won) == 5 and sum(map(len, won.values())) > 25
        accuracy = sum(weights[name] * sum(found) / len(found) for name, found in won.items())
        assert math.isclose(printed, 100 * accuracy / sum(weights[name] for name in won), abs_tol=1e-6)


def test_both_objectives_learn(marts: duckdb.DuckDBPyConnection) -> None:
    """The mean loss of the last epoch is below that of the first: both saw the same examples."""
    for model in ("stories", RANDOM):
        for objective, epochs in (("bradley_terry", EPOCHS), ("regression", 2)):
            rows = marts.execute(
                "select loss from fct_learning_curves where study_id = 'mine' and model_id = ? and objective = ? "
                "and training_run = '0.001-s0' order by step",
                [model, objective],
            ).fetchall()
            steps = len(rows) // epochs
            losses = [row[0] for row in rows]
            assert steps > 2 and sum(losses[-steps:]) < 0.9 * sum(losses[:steps]), (model, objective)
    searched = marts.execute(
        "select count(*), sum(is_selected::int) from fct_learning_rate_search where study_id = 'mine'"
    ).fetchone()
    assert searched == (6, 4)


def test_the_model_trained_on_stories_scores_books_best(marts: duckdb.DuckDBPyConnection) -> None:
    score = dict(
        marts.execute(
            "select domain, mean_presence_score from fct_presence_by_domain "
            "where study_id = 'mine' and model_id = 'stories'"
        ).fetchall()
    )
    assert set(score) == {"Github", "Book", "ArXiv", "Wikipedia", "StackExchange", "all"}
    assert all(score["Book"] > score[domain] + 1 for domain in score.keys() - {"Book", "all"})
    distances = marts.execute(
        "select distance, distance_corrected, distance_low, distance_high from fct_jensen_shannon_distances "
        "where study_id = 'mine' and domain = 'all' and score_kind = 'presence_score' and binning = 'quantile'"
    ).fetchall()
    assert len(distances) == 1
    plain, corrected, low, high = distances[0]
    assert 0 <= low <= corrected <= high <= 1 and corrected < plain <= 1


def test_benchmarks_that_were_run_and_imported_are_features(marts: duckdb.DuckDBPyConnection) -> None:
    found = marts.execute(
        "select model_id, feature, value from fct_regression_features "
        "where study_id = 'mine' and feature_kind = 'benchmark' order by feature, model_id"
    ).fetchall()
    assert [row[:2] for row in found] == [(RANDOM, "order"), ("stories", "order"), ("stories", "winogrande")]
    assert all(0 <= row[2] <= 100 and (row[2] / 5).is_integer() for row in found[:2]), "shares of 20 questions"
    assert found[2][2] == 50
    listed = marts.execute(
        "select benchmark, framework, n_models from dim_benchmarks where study_id = 'mine' order by benchmark"
    ).fetchall()
    assert listed == [("order", "lm_eval", 2), ("winogrande", "lm_eval", 1)]


def test_costs_are_landed_and_the_published_study_is_what_it_was(marts: duckdb.DuckDBPyConnection) -> None:
    jobs = marts.execute(
        "select job, count(*) from fct_run_costs where study_id = 'mine' group by job order by job"
    ).fetchall()
    assert jobs == [
        ("run_benchmarks", 2),
        ("score_completions", 4),
        ("score_documents", 2),
        ("train_reward_model", 4),
    ]
    best = marts.execute(
        "select model_id, round(gain_points, 1) from fct_size_group_gains where study_id = 'published' "
        "and objective = 'regression' and size_group = '>=6' and rank_in_group = 1"
    ).fetchall()
    assert best == [("gemma-2-9b-it", 4.9)]


def test_a_second_run_has_nothing_to_do(own: tuple[Path, Path, str], run: Run) -> None:
    project, home, _ = own
    weights = home / "lab" / "small" / "models" / "coder" / "model.safetensors"
    before = weights.stat().st_mtime_ns
    done = run(home, project=project)
    assert done.returncode == 0, done.stderr
    assert "Nothing changed since the last run." in done.stdout and "Task 1" not in done.stdout
    assert "Making the lab" not in done.stdout and weights.stat().st_mtime_ns == before


def test_a_changed_result_file_is_imported_and_a_model_that_fails_holds_back_itself_only(
    own: tuple[Path, Path, str], run: Run
) -> None:
    """A third model whose weights are not there: named, tried again next time; all else is published."""
    project, home, _ = own
    write_results(home.parent / "results" / "stories" / "results_2026-11-20T10-00-00.000001.json", 0.75)
    broken = home.parent / "broken"
    shutil.copytree(home.parent / "random", broken)
    (broken / "model.safetensors").unlink()
    study = project / "dagster_project" / "studies" / "mine.yaml"
    data = yaml.safe_load(study.read_text())
    data["models"].append(
        MODEL | {"model_id": "broken", "hub_id": str(broken), "publisher": "nobody", "family": "broken"}
    )
    study.write_text(yaml.safe_dump(data))
    done = run(home, project=project)
    assert done.returncode == 1
    assert "Importing benchmark results" in done.stdout
    assert "reward model of broken, bradley_terry" in done.stderr and "no weights" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Everything else was refreshed and published" in done.stderr
    tasks = re.findall(r"Task \d+ of (\d+): mine: .*(?:of|under) (\w+)", done.stdout)
    assert tasks == [("4", "broken")] * 4, "what was trained, scored and run is not done again"
    with duckdb.connect(str(home / "published" / "current.duckdb"), read_only=True) as marts:
        models = marts.execute("select model_id from dim_base_models where study_id = 'mine'").fetchall()
        results = marts.execute("select count(*) from fct_reward_model_results where study_id = 'mine'").fetchone()
        imported = marts.execute(
            "select value from fct_regression_features where study_id = 'mine' and feature = 'winogrande'"
        ).fetchone()
    assert {row[0] for row in models} == {"stories", RANDOM, "broken"} and results == (4,)
    assert imported == (75,)
