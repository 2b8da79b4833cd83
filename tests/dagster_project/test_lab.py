"""A small lab through `make run`: its base models are made, become reward models, and the truth stands in the marts.

The run is the one of test_own_study.py, which has it run again.
"""

from __future__ import annotations

import re
from pathlib import Path
from subprocess import CompletedProcess

import duckdb
import pytest

from tests.support.trained_studies import MIXES


@pytest.fixture(scope="module")
def lab(trained: tuple[Path, CompletedProcess[str]]) -> tuple[Path, Path, str]:
    """Project, home and output of a run with a small lab beside other studies."""
    folder, done = trained
    return folder / "project", folder / "home", done.stdout


@pytest.fixture(scope="module")
def marts(lab: tuple[Path, Path, str]) -> duckdb.DuckDBPyConnection:
    return duckdb.connect(str(lab[1] / "published" / "current.duckdb"), read_only=True)


def test_the_run_says_what_it_does(lab: tuple[Path, Path, str]) -> None:
    said = lab[2]
    assert "Making the lab" in said and "coder (0.0" in said and "coder-sft (0.0" in said
    assert "Task 5 of 16: small: reward model of coder, bradley_terry" in said and "[16/16]" in said
    kinds = [re.sub(r" (of|under) .*", "", words) for words in re.findall(r"Task \d+ of 16: small: (.*)", said)]
    # A further stage shares its parent's documents.
    assert kinds == ["reward model"] * 3 + ["documents"] * 2 + ["benchmarks"] * 3


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
