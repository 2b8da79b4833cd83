"""A study of three score files alone, without base models, through `make run`, on a machine where torch cannot load."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
import yaml

from tests.support.programs import run_program
from tests.support.score_files import entry, write_lines

pytestmark = pytest.mark.slow
NAMES = ("import:good", "import:fair", "import:poor")
N_ITEMS = 60


def rows(n_won: int) -> list[dict[str, object]]:
    """Plain scores of pairs, of which the first n_won are won."""
    return [
        {"item_id": str(item), "benchmark": "mine", "completion": name, "reward": reward}
        for item in range(N_ITEMS)
        for name, reward in (("correct_1", 1.0 if item < n_won else -1.0), ("wrong_1", 0.0))
    ]


def write_studies(folder: Path) -> None:
    folder.mkdir()
    imports = []
    for name, n_won in zip(NAMES, (50, 45, 20), strict=True):
        file = f"{name.partition(':')[2]}.jsonl"
        write_lines(folder / file, rows(n_won))
        imports.append(entry(f"./{file}", "plain", name))
    pairs = [{"id": str(item), "prompt": f"{item}?", "chosen": "a", "rejected": "b"} for item in range(N_ITEMS)]
    write_lines(folder / "pairs.jsonl", pairs)
    study = {"study_id": "files", "title": "Files alone", "synthetic": True, "source": "made in a test"}
    study |= {"benchmark_sets": [{"name": "mine", "path": "./pairs.jsonl"}], "score_imports": imports}
    (folder / "files.yaml").write_text(yaml.safe_dump(study))


def test_three_score_files_give_an_answer_without_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    studies, home, without_torch = tmp_path / "studies", tmp_path / "home", tmp_path / "without"
    write_studies(studies)
    (without_torch / "torch").mkdir(parents=True)
    (without_torch / "torch" / "__init__.py").write_text("raise ImportError('torch is not there')\n")
    monkeypatch.setattr("tests.support.programs.STUDIES", studies)
    monkeypatch.setenv("PYTHONPATH", str(without_torch))
    done = run_program("run", home)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Which reward model is best?" in done.stdout
    assert done.stdout.count("parts/score_imports") == 1, "read once"
    first, _, rest = done.stdout.partition("This answer is published.")
    assert "import:good  83.3" in first and "reports/charts" not in first, "the answer comes before the pictures"
    assert "import:good  83.3" in rest and "reports/charts" in rest
    assert "import:good  83.3" in done.stdout and "clearly better than 1 of 2 others" in done.stdout
    assert "not distinguishable from the best: import:fair 75.0" in done.stdout
    with duckdb.connect(str(home / "published" / "current.duckdb"), read_only=True) as marts:
        of_good = "select low, high from fct_benchmark_scores where reward_id = 'import:good' and is_main"
        of_both = "subset is null and reward_a = 'import:fair' and reward_b = 'import:good'"
        ((low, high),) = marts.execute(of_good).fetchall()
        p = marts.execute(f"select p_value from fct_benchmark_score_differences where {of_both}").fetchall()
    # Binomial, with n - 1; McNemar's exact test of 5 to 0.
    error = 100 * (5 / 6 * 1 / 6 / 59) ** 0.5
    assert (high - low) / 2 == pytest.approx(1.959964 * error, rel=0.01)
    assert p == [(pytest.approx(2 * 0.5**5),)]
    page = (home / "reports" / "base_model_choice.html").read_text()
    assert "Reward models on all benchmarks" in page and "import:good" in page
    assert "RewardBench score" not in page
