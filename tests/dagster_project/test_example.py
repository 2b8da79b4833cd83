"""The example's study with tiny models in the places of the real ones: from its folder to the answer, all shown."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from models_train.modeling.smollm2 import LAYERS
from tests.support.programs import REPOSITORY, RUN_LIMIT_S, environment
from tests.support.tiny_models import write_base

pytestmark = pytest.mark.slow

EXAMPLE = REPOSITORY / "dagster_project" / "studies" / "examples" / "smollm2"


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Home and outcome of the run, whose output goes to no terminal."""
    folder = tmp_path_factory.mktemp("example")
    shutil.copytree(EXAMPLE, folder / "studies")
    for seed, name in enumerate(LAYERS):
        write_base(folder / "home" / "models" / name, seed=seed)
    done = subprocess.run(
        [sys.executable, "-m", "dagster_project.cli.run"],
        cwd=REPOSITORY,
        env=environment(folder / "home") | {"REWARDBASE_STUDIES": str(folder / "studies"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=RUN_LIMIT_S,
        check=False,
    )
    return folder / "home", done


def test_it_ends_in_an_answer(example: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    home, done = example
    assert done.returncode == 0, done.stdout + done.stderr
    assert "An example: SmolLM2-135M and its first ten layers" in done.stdout
    assert (home / "reports" / "base_model_choice.html").exists()
    with duckdb.connect(str(home / "published" / "current.duckdb"), read_only=True) as marts:
        results = marts.execute(
            "select model_id, chat, chat_hard, safety, reasoning, score, n_pairs from fct_reward_model_results"
        ).fetchall()
        domains = marts.execute(
            "select model_id, domain, engine, n_documents, mean_bits_per_byte from fct_presence_by_domain "
            "where domain != 'all'"
        ).fetchall()
        costs = marts.execute("select variant from fct_run_costs where job = 'score_documents'").fetchall()
    assert {row[0] for row in results} == set(LAYERS) and all(row[6] == 24 for row in results)
    assert all(0 <= value <= 100 for row in results for value in row[1:6])
    assert len(domains) == 10 and all(row[2:4] == ("packed", 5) and row[4] > 0 for row in domains)
    assert costs == [("packed",), ("packed",)]


def test_every_task_is_shown_with_the_time_left(example: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    said = example[1].stdout
    assert re.findall(r"Task (\d) of 4", said) == ["1", "2", "3", "4"]
    assert len(re.findall(r"^  \[\d/4\] smollm2: .*: \d+ s(?:; about .* left)?$", said, re.MULTILINE)) == 4
    assert re.search(r"^  \[1/4\] +\d+:\d\d SmolLM2-135M-Instruct, bradley_terry: 36 ", said, re.MULTILINE)
    assert re.search(
        r"^  \[3/4\] +\d+:\d\d SmolLM2-135M-Instruct: packed engine \(no GPU for vLLM\)", said, re.MULTILINE
    )
    assert "[pipes]" not in said
