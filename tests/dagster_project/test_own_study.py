"""A study that trains and scores for real: two tiny models through `make run`, from study file to snapshot."""

from __future__ import annotations

import gzip
import json
import math
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import duckdb
import pytest
import torch
import yaml
from bad_names import EMOJI, PAGE, SQL
from secrets_left import MARK, files_with_secrets
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from models_train.lab.tasks import write_tasks

Run = Callable[..., CompletedProcess[str]]
SHARED = Path(__file__).resolve().parents[3] / "shared"
STORIES = SHARED / "models" / "stories260K"
N_PAIRS = 80
EPOCHS = 4
RECIPE = {"global_batch": 16, "warmup_steps": 2, "checkpoint_every": 5, "max_tokens": 384}
PER_SUBSET = 20
RANDOM = f"../random {SQL} {PAGE} [/] [{EMOJI}]|%..."
"""The second model's name: bad ones together, the terminal's markup, and what Dagster keeps for itself in keys."""
MODEL = {"params_b": 0.00026, "stage": "base"}


def write_preferences(folder: Path) -> None:
    """The shortest real pairs, and a small file in HelpSteer2's columns made of them: the better one rates higher."""
    with gzip.open(SHARED / "data" / "preferences" / "alpaca_eval.jsonl.gz", "rt") as file:
        lines = sorted(file, key=len)[:N_PAIRS]
    (folder / "preferences.jsonl").write_text("".join(lines))
    with (folder / "ratings.jsonl").open("w") as out:
        for row in map(json.loads, lines):
            first_wins = row["preference_strength"] < 0
            for response, won in ((row["response_1"], first_wins), (row["response_2"], not first_wins)):
                value = 4 if won else 1
                rated = {"helpfulness": value, "correctness": value, "coherence": 3, "complexity": 1}
                rated["verbosity"] = min(4, len(response) // 400)
                out.write(json.dumps({"prompt": row["prompt"], "response": response, **rated}) + "\n")


def write_test_set(path: Path) -> None:
    """The first PER_SUBSET real pairs of each subset of Reasoning and Chat Hard."""
    seen: Counter[str] = Counter()
    with gzip.open(SHARED / "data" / "rewardbench" / "filtered_part.jsonl.gz", "rt") as file, path.open("w") as out:
        for line in file:
            subset = json.loads(line)["subset"]
            seen[subset] += 1
            if seen[subset] <= PER_SUBSET:
                out.write(line)


def write_results(path: Path, accuracy: float) -> None:
    """A result file as `lm_eval --output_path` writes it, of the model `stories`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    metrics = {"alias": "winogrande", "acc,none": accuracy, "acc_stderr,none": 0.014}
    found = {"results": {"winogrande": metrics}, "n-shot": {"winogrande": 5}, "model_name": str(STORIES)}
    path.write_text(json.dumps(found))


@pytest.fixture(scope="module")
def own(small_run: Path, tmp_path_factory: pytest.TempPathFactory, run: Run) -> tuple[Path, Path, str]:
    """Project, home and output of a run with a study of its own beside the small published one."""
    folder = tmp_path_factory.mktemp("own")
    shutil.copytree(small_run, folder, symlinks=True, dirs_exist_ok=True)
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(STORIES)).save_pretrained(folder / "random")
    AutoTokenizer.from_pretrained(STORIES).save_pretrained(folder / "random")
    write_preferences(folder)
    write_test_set(folder / "test.jsonl")
    write_tasks(folder / "tasks", seed=0, n_items=20)
    write_results(folder / "results" / "stories" / "results_2026-11-20T10-00-00.000001.json", 0.5)
    study = {
        "study_id": "mine",
        "title": "Two tiny models",
        "synthetic": False,
        "source": "trained here",
        "size_groups": [{"name": "all", "params_b_from": 0, "default": RANDOM}],
        "models": [
            MODEL | {"model_id": "stories", "hub_id": str(STORIES), "publisher": "karpathy", "family": "tinyllamas"},
            MODEL | {"model_id": RANDOM, "hub_id": str(folder / "random"), "publisher": "nobody", "family": "none"},
        ],
        "training": {
            "preferences": {"path": str(folder / "preferences.jsonl")},
            "ratings": {"path": str(folder / "ratings.jsonl")},
            "test_set": {"path": str(folder / "test.jsonl")},
            "bradley_terry": RECIPE | {"learning_rates": [1e-3, 3e-3], "epochs": EPOCHS},
            "regression": RECIPE | {"learning_rates": [1e-3], "epochs": 2},
            "precision": "float32",
        },
        "scoring": {
            "corpus": {
                "name": "slimpajama_like",
                "source": {"path": str(SHARED / "data" / "documents" / "slimpajama_like.jsonl.gz")},
                "documents_per_domain": 40,
            },
            "precision": "float32",
            "documents_per_shard": 100,
        },
        "benchmarks": {
            "precision": "float32",
            "tasks": [
                {"name": "order", "task": "lab_order", "folder": str(folder / "tasks"), "topic": "Reasoning"},
                {"name": "winogrande", "topic": "General", "few_shot": 5, "run": False},
            ],
            "imports": [{"path": str(folder / "results"), "format": "lm_eval"}],
        },
    }
    project, home = folder / "project", folder / "home"
    (project / "dagster_project" / "studies" / "mine.yaml").write_text(yaml.safe_dump(study))
    done = run(home, project=project)
    assert done.returncode == 0, done.stdout + done.stderr
    return project, home, done.stdout


@pytest.fixture(scope="module")
def marts(own: tuple[Path, Path, str]) -> duckdb.DuckDBPyConnection:
    return duckdb.connect(str(own[1] / "published" / "current.duckdb"), read_only=True)


def test_each_piece_of_work_is_announced(own: tuple[Path, Path, str]) -> None:
    _, _, said = own
    assert "Task 1 of 8: mine: reward model of stories, bradley_terry" in said
    assert f"Task 6 of 8: mine: documents under {RANDOM}" in said
    assert f"Task 8 of 8: mine: benchmarks of {RANDOM}" in said


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
        assert row[2:5] == (None, None, None), "Chat and Safety are not in the test set, so there is no score"
        assert 20 < row[5] < 80 and 20 < row[6] < 80
        assert row[7] == "incomplete" and "chat" in row[8]
        # Over-long completions are errors, not lost pairs.
        assert 60 < row[9] <= 12 * PER_SUBSET


def test_the_marts_count_what_the_rewards_say(own: tuple[Path, Path, str], marts: duckdb.DuckDBPyConnection) -> None:
    """Chat Hard from the item rows of the parts, by hand."""
    files = own[1] / "parts" / "completion_rewards" / "mine" / "*.parquet"
    rows = duckdb.sql(
        f"select model_id, objective, subset, item_id, completion, reward from '{files}' "
        "where attribute in ('reward', 'merged') and status = 'ok' and subset like 'llmbar%'"
    ).fetchall()
    rewards = {row[:5]: row[5] for row in rows}
    seed = own[0] / "dbt" / "seeds" / "rewardbench_subsets.csv"
    weights = dict(duckdb.sql(f"select subset, weight from '{seed}'").fetchall())
    for model, objective, printed in marts.execute(
        "select model_id, objective, chat_hard from fct_reward_model_results where study_id = 'mine'"
    ).fetchall():
        won: dict[str, list[bool]] = {}
        for key, reward in rewards.items():
            if key[:2] == (model, objective) and key[4] == "chosen" and (*key[:4], "rejected") in rewards:
                won.setdefault(key[2], []).append(reward > rewards[(*key[:4], "rejected")])
        assert len(won) == 5 and sum(map(len, won.values())) > 50
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


def test_stories_know_stories_better_than_code(marts: duckdb.DuckDBPyConnection) -> None:
    score = dict(
        marts.execute(
            "select domain, mean_presence_score from fct_presence_by_domain "
            "where study_id = 'mine' and model_id = 'stories'"
        ).fetchall()
    )
    assert score["StackExchange"] > score["Github"] and score["Book"] > score["Github"]
    assert set(score) == {"Github", "Book", "ArXiv", "Wikipedia", "StackExchange", "all"}
    distances = marts.execute(
        "select distance, is_flagged from fct_jensen_shannon_distances where study_id = 'mine' and domain = 'all' "
        "and score_kind = 'presence_score' and binning = 'quantile'"
    ).fetchall()
    assert len(distances) == 1 and 0 < distances[0][0] <= 1
    assert distances[0][1], "with so few documents a distance is flagged"


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
    jobs = marts.execute("select job, count(*) from fct_run_costs group by job order by job").fetchall()
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
    done = run(home, project=project)
    assert done.returncode == 0, done.stderr
    assert "Nothing changed since the last run." in done.stdout and "Task 1" not in done.stdout


def test_a_result_file_that_changed_is_imported_again(own: tuple[Path, Path, str], run: Run) -> None:
    _, home, _ = own
    write_results(home.parent / "results" / "stories" / "results_2026-11-20T10-00-00.000001.json", 0.75)
    done = run(home, project=own[0])
    assert done.returncode == 0, done.stderr
    assert "parts/benchmark_imports on: result files of benchmarks have come or changed" in done.stdout
    assert "Task 1" not in done.stdout
    with duckdb.connect(str(home / "published" / "current.duckdb"), read_only=True) as marts:
        value = marts.execute(
            "select value from fct_regression_features where study_id = 'mine' and feature = 'winogrande'"
        ).fetchone()
    assert value == (75,)


def test_a_model_that_fails_holds_back_itself_only(own: tuple[Path, Path, str], run: Run) -> None:
    """A third model whose weights are not there: named, tried again next time; all else is published."""
    project, home, _ = own
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
    assert "reward model of broken, bradley_terry" in done.stderr and "no weights" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Everything else was refreshed and published" in done.stderr
    with duckdb.connect(str(home / "published" / "current.duckdb"), read_only=True) as marts:
        models = marts.execute("select model_id from dim_base_models where study_id = 'mine'").fetchall()
        results = marts.execute("select count(*) from fct_reward_model_results where study_id = 'mine'").fetchone()
    assert {row[0] for row in models} == {"stories", RANDOM, "broken"} and results == (4,)
