"""A small lab through `make run`: its base models are made, become reward models, and the truth stands in the marts."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import duckdb
import pytest
import yaml

Run = Callable[..., CompletedProcess[str]]
MIXES = {"coder": {"Github": 0.8, "Book": 0.2}, "reader": {"Book": 0.8, "Github": 0.2}}
TASKS = ("lab_cloze_github", "lab_cloze_book")


def study() -> dict[str, object]:
    """Two small base models on opposite mixes, and a further stage of one."""
    place = "$REWARDBASE_HOME/lab/small"
    common = {"publisher": "lab", "params_b": 0.00003, "tokens_t": 5e-8}
    models = [
        common | {"model_id": name, "hub_id": f"{place}/models/{name}", "family": name, "stage": "base"}
        for name in MIXES
    ]
    further = {"model_id": "coder-sft", "hub_id": f"{place}/models/coder-sft", "stage": "sft", "parent": "coder"}
    shape = {"architecture": "llama", "hidden": 32, "layers": 1}
    made = [shape | {"model_id": name, "pretraining_tokens": 50_000, "mix": mix} for name, mix in MIXES.items()]
    return {
        "study_id": "small",
        "title": "A small lab",
        "synthetic": True,
        "source": "made here",
        "size_groups": [{"name": "all", "params_b_from": 0, "default": "coder"}],
        "models": [*models, common | {"family": "coder"} | further],
        "lab": {
            "models": [*made, shape | {"model_id": "coder-sft"}],
            "vocabulary": 512,
            "documents_per_domain": 20,
            "preferences": 64,
            "ratings": 32,
            "validation": 32,
            "test_pairs_per_subset": 5,
            "questions_per_task": 20,
        },
        "training": {
            "preferences": {"path": f"{place}/preferences.jsonl"},
            "test_set": {"path": f"{place}/test.jsonl"},
            "objectives": ["bradley_terry"],
            "bradley_terry": {"learning_rates": [1e-3], "global_batch": 16, "warmup_steps": 2, "max_tokens": 512},
            "precision": "float32",
        },
        "scoring": {
            "corpus": {
                "name": "small_lab",
                "source": {"path": f"{place}/documents.jsonl"},
                "documents_per_domain": 20,
            },
            "precision": "float32",
        },
        "benchmarks": {
            "precision": "float32",
            "tasks": [
                {"name": name, "folder": f"{place}/tasks", "metric": "acc_norm", "topic": "Coding"} for name in TASKS
            ],
        },
    }


@pytest.fixture(scope="module")
def lab(small_run: Path, tmp_path_factory: pytest.TempPathFactory, run: Run) -> tuple[Path, Path, str]:
    """Project, home and output of a run with a small lab beside the small published study."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copytree(small_run, folder, symlinks=True, dirs_exist_ok=True)
    project, home = folder / "project", folder / "home"
    (project / "dagster_project" / "studies" / "small.yaml").write_text(yaml.safe_dump(study()))
    done = run(home, project=project)
    assert done.returncode == 0, done.stdout + done.stderr
    return project, home, done.stdout


@pytest.fixture(scope="module")
def marts(lab: tuple[Path, Path, str]) -> duckdb.DuckDBPyConnection:
    return duckdb.connect(str(lab[1] / "published" / "current.duckdb"), read_only=True)


def test_the_run_says_what_it_does(lab: tuple[Path, Path, str]) -> None:
    said = lab[2]
    assert "Making the lab" in said and "coder (0.0" in said and "coder-sft (0.0" in said
    # Three reward models, documents under two models (a further stage shares its parent's), benchmarks of three.
    assert "Task 1 of 8: small: reward model of coder, bradley_terry" in said and "[8/8]" in said


def test_every_mart_has_rows_of_the_lab(marts: duckdb.DuckDBPyConnection) -> None:
    results = marts.execute(
        "select model_id, status, chat, chat_hard, safety, reasoning from fct_reward_model_results "
        "where study_id = 'small'"
    ).fetchall()
    assert {row[0] for row in results} == {*MIXES, "coder-sft"}
    assert all(None not in row[2:] for row in results), "a lab's test set has all four categories"
    stages = marts.execute("select count(*) from fct_post_training_stages where study_id = 'small'").fetchone()
    assert stages is not None and stages[0] > 0
    measured = marts.execute(
        "select benchmark, n_models from dim_benchmarks where study_id = 'small' order by benchmark"
    ).fetchall()
    assert measured == [("lab_cloze_book", 3), ("lab_cloze_github", 3)]


def test_the_truth_stands_beside_the_estimates(marts: duckdb.DuckDBPyConnection) -> None:
    mixes = marts.execute("select model_id, domain, share from dim_lab_mixes where share > 0 order by all").fetchall()
    assert ("coder", "Github", 0.8) in mixes and ("coder-sft", "Github", 0.8) in mixes
    bits = dict(
        marts.execute(
            "select model_id || '/' || domain, mean_bits_per_byte from fct_presence_by_domain where study_id = 'small'"
        ).fetchall()
    )
    assert bits["coder/Github"] < bits["reader/Github"] and bits["reader/Book"] < bits["coder/Book"]
    checks = marts.execute("select count(*) from fct_lab_truth_checks where study_id = 'small'").fetchone()
    assert checks is not None and checks[0] > 0


def test_the_report_says_that_it_is_synthetic(lab: tuple[Path, Path, str]) -> None:
    page = (lab[1] / "reports" / "base_model_choice.html").read_text()
    assert "A small lab" in page and "ynthetic" in page


def test_a_second_run_makes_nothing_again(lab: tuple[Path, Path, str], run: Run) -> None:
    project, home, _ = lab
    weights = home / "lab" / "small" / "models" / "coder" / "model.safetensors"
    before = weights.stat().st_mtime_ns
    done = run(home, project=project)
    assert done.returncode == 0, done.stderr
    assert "Nothing changed since the last run." in done.stdout and "Making the lab" not in done.stdout
    assert weights.stat().st_mtime_ns == before
