"""Runs as a person starts them: what is done, what is left alone, and what bad input does."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.publishing import published_state

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_a_first_run_shows_progress_the_answer_and_where_things_are(
    first_run: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    home, done = first_run
    said = done.stdout
    assert "] parts/studies" in said
    assert "] published/snapshot" in said
    for model in ("Qwen2.5-1.5B-Instruct", "Qwen2.5-3B-Instruct", "gemma-2-9b-it", "gemma-2-2b-it"):
        assert model in said
    assert "+14.3 points" in said
    assert "approximate" in said
    assert str(home / "reports" / "base_model_choice.html") in said
    assert str(home / "published" / "current.duckdb") in said
    assert "http://127.0.0.1:" in said
    assert "DEBUG" not in said + done.stderr


def test_everything_is_written_under_the_home(first_run: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    home, _ = first_run
    assert (home / "published" / "current.duckdb").is_symlink()
    assert list((home / "parts").rglob("*.parquet"))
    assert (home / "warehouse.duckdb").exists()
    endings = {path.suffix or path.name for path in (home / "reports" / "charts").iterdir()}
    assert endings == {".json", ".svg", ".png", "SHA256SUMS"}
    project = Path(__file__).resolve().parents[3]
    assert not (project / "dbt" / "target").exists()
    assert not (project / "dbt" / "logs").exists()


def test_a_second_run_does_nothing(home: Path, tmp_path: Path, run: Run) -> None:
    home = shutil.copytree(home, tmp_path / "home", symlinks=True)
    before = published_state(home)
    done = run(home)
    assert done.returncode == 0, done.stderr
    assert "Nothing changed since the last run." in done.stdout
    assert "gemma-2-9b-it" in done.stdout
    assert published_state(home) == before


def test_a_lost_report_is_made_again(project_copy: tuple[Path, Path], run: Run) -> None:
    project, home = project_copy
    (home / "reports" / "base_model_choice.html").unlink()
    done = run(home, project=project)
    assert done.returncode == 0, done.stderr
    assert (home / "reports" / "base_model_choice.html").exists()


def replace(path: str, old: str, new: str) -> Callable[[Path], None]:
    def spoil(project: Path) -> None:
        file = project / path
        text = file.read_text()
        assert text.count(old) >= 1, (path, old)
        file.write_text(text.replace(old, new, 1))

    return spoil


def test_a_run_after_an_edit_does_what_depends_on_it(project_copy: tuple[Path, Path], run: Run) -> None:
    project, home = project_copy
    replace("dbt/models/marts/fct_size_group_gains.sql", "compared.score desc", "compared.score + 1 desc")(project)
    done = run(home, project=project)
    assert done.returncode == 0, done.stderr
    made = {line.split("] ")[1].split(" (")[0] for line in done.stdout.splitlines() if line.startswith("  [")}
    changed = ("fct_size_group_gains", "fct_size_group_winners", "fct_reward_model_comparisons")
    marts = {f"marts/{name}" for name in changed}
    assert made == marts | {"reports/base_model_choice", "reports/charts", "published/snapshot"}


def repeat_last_row(path: str) -> Callable[[Path], None]:
    def spoil(project: Path) -> None:
        file = project / path
        file.write_text(file.read_text() + file.read_text().splitlines()[-1] + "\n")

    return spoil


BAD_INPUT = {
    "unknown model, duplicate benchmark value, score of 140": (
        [
            replace("dbt/seeds/table_4_regression.csv", "gemma-2-9b-it,", "gemma-2-9b-itt,"),
            repeat_last_row("dbt/seeds/benchmark_results.csv"),
            replace("dbt/seeds/table_5_bradley_terry.csv", "72.3", "140"),
        ],
        [
            ["table_4_regression.csv:2:", "'gemma-2-9b-itt'", "did you mean", "gemma-2-9b-it", "published.yaml"],
            ["benchmark_results.csv:{next_row}:", "(model, benchmark, source)", "row {last_row}"],
            ["table_5_bradley_terry.csv:2:", "140", "0", "100"],
        ],
    ),
    "misspelt key": (
        [replace("dagster_project/studies/published.yaml", "    hub_id:", "    hubid:")],
        [["published.yaml", "hubid", "did you mean", "hub_id"]],
    ),
    "default that is not a model": (
        [replace("dagster_project/studies/published.yaml", "default: Llama-3.2-1B-Instruct", "default: Llama-3.2-1B")],
        [["published.yaml", "Llama-3.2-1B", "default"]],
    ),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_stops_the_run_with_one_message_for_each_fault(
    case: str, project_copy: tuple[Path, Path], run: Run
) -> None:
    project, home = project_copy
    faults, expected = BAD_INPUT[case]
    kept = {path: (project / path).read_bytes() for path in _inputs(project)}
    before = published_state(home)
    last_row = len(kept[Path("dbt/seeds/benchmark_results.csv")].splitlines())
    try:
        for spoil in faults:
            spoil(project)
        done = run(home, project=project)
    finally:
        for path, content in kept.items():
            (project / path).write_bytes(content)
    assert done.returncode == 1
    for words in expected:
        wanted = [word.format(last_row=last_row, next_row=last_row + 1) for word in words]
        assert any(all(word in line for word in wanted) for line in done.stderr.splitlines()), (wanted, done.stderr)
    assert "Traceback" not in done.stdout + done.stderr
    assert len(done.stderr.splitlines()) <= 3 + len(faults), done.stderr
    assert published_state(home) == before
    assert (home / "reports" / "base_model_choice.html").exists()


def test_sql_that_cannot_be_parsed_is_named(project_copy: tuple[Path, Path], run: Run) -> None:
    project, home = project_copy
    model = project / "dbt" / "models" / "marts" / "dim_studies.sql"
    original = model.read_text()
    try:
        model.write_text(original.replace("ref('stg_studies')", "ref('stg_studis')"))
        done = run(home, project=project)
    finally:
        model.write_text(original)
    assert done.returncode == 1
    assert "stg_studis" in done.stderr
    assert "dim_studies" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_answer_without_a_snapshot_says_what_to_do(tmp_path: Path, run: Run) -> None:
    done = run(tmp_path / "empty", "--answer")
    assert done.returncode == 1
    assert "make run" in done.stderr
    assert "Traceback" not in done.stderr


def _inputs(project: Path) -> list[Path]:
    found = [*(project / "dbt" / "seeds").glob("*.csv"), *(project / "dagster_project" / "studies").glob("*.yaml")]
    return [path.relative_to(project) for path in found]
