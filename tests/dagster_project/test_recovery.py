"""What happens around a run: killed, interrupted, two at once, files lost or damaged, things taken away."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]
Copy = tuple[Path, Path]

GAINS = "dbt/marts/fct_size_group_gains.sql"


@contextmanager
def edited(file: Path, old: str, new: str) -> Iterator[None]:
    original = file.read_text()
    assert old in original
    file.write_text(original.replace(old, new, 1))
    try:
        yield
    finally:
        file.write_text(original)


@contextmanager
def started(project: Path, home: Path, until: str) -> Iterator[subprocess.Popen[str]]:
    """A run in a process group of its own, when it has said `until`."""
    studies = str(project / "dagster_project" / "studies")
    places = {"REWARDBASE_HOME": str(home), "REWARDBASE_STUDIES": studies, "PYTHONPATH": str(project)}
    environment = os.environ | places | {"COLUMNS": "160"}
    process = subprocess.Popen(
        [sys.executable, "-m", "dagster_project.run"],
        cwd=project,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if until in line:
                break
        else:
            raise AssertionError(f"the run ended before it said {until!r}: {process.communicate()}")
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def snapshot_id(home: Path) -> str:
    with duckdb.connect(str(home / "published" / "current.duckdb"), read_only=True) as connection:
        found = connection.execute("select snapshot_id from marts.snapshot").fetchone()
    assert found is not None
    return str(found[0])


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_was_stopped_in_the_middle_leaves_nothing_in_the_way(
    how: signal.Signals, project_copy: Copy, run: Run
) -> None:
    project, home = project_copy
    before = snapshot_id(home)
    with edited(project / GAINS, "order by score desc", f"order by score desc -- {how.name}\n"):
        with started(project, home, until="assets to materialize") as process:
            time.sleep(4)  # into dbt
            os.killpg(process.pid, how)
            _, said = process.communicate(timeout=300)
        if how == signal.SIGINT:
            assert process.returncode == 130, said
            assert "Interrupted" in said
            assert "Traceback" not in said
        assert snapshot_id(home) == before
        done = run(home, project=project)
        assert done.returncode == 0, done.stderr
    assert snapshot_id(home) == before


def test_a_second_run_at_the_same_time_says_so(project_copy: Copy, run: Run) -> None:
    project, home = project_copy
    with started(project, home, until="Reading the project") as process:
        done = run(home, project=project)
        process.communicate(timeout=300)
    assert done.returncode == 1
    assert "Another `make run` is at work" in done.stderr
    assert str(process.pid) in done.stderr
    assert process.returncode == 0


def test_a_score_that_is_no_mean_is_refused_however_often_one_tries(project_copy: Copy, run: Run) -> None:
    project, home = project_copy
    before = snapshot_id(home)
    report = (home / "reports" / "base_model_choice.html").read_bytes()
    results = project / "dbt" / "marts" / "fct_reward_model_results.sql"
    with edited(results, "    results.score,\n", "    results.score + 1 as score,\n"):
        for _ in range(2):
            done = run(home, project=project)
            assert done.returncode == 1
            assert "mean of the categories" in done.stderr
            assert "Traceback" not in done.stderr
            assert snapshot_id(home) == before
            assert (home / "reports" / "base_model_choice.html").read_bytes() == report
    assert run(home, project=project).returncode == 0
    assert snapshot_id(home) == before


def test_a_new_failing_unit_test_is_run_and_its_removal_mends(project_copy: Copy, run: Run) -> None:
    project, home = project_copy
    unit_tests = project / "dbt" / "marts" / "_unit_tests.yml"
    with edited(unit_tests, "n: 6, coverage: 0.9,", "n: 6, coverage: 0.8,"):
        done = run(home, project=project)
        assert done.returncode == 1
        assert "coverage_expects_ties_to_break_at_random" in done.stderr
    renamed = "coverage_expects_ties_to_break_evenly"
    with edited(unit_tests, "coverage_expects_ties_to_break_at_random", renamed):
        assert run(home, project=project).returncode == 0


def test_a_mart_that_is_removed_goes_from_the_snapshot(project_copy: Copy, run: Run) -> None:
    project, home = project_copy
    before = snapshot_id(home)
    mart, described = (project / "dbt" / "marts" / f"dim_extra.{ending}" for ending in ("sql", "yml"))
    try:
        mart.write_text("select study_id from {{ ref('dim_studies') }}\n")
        described.write_text(
            "version: 2\nmodels:\n- name: dim_extra\n  description: Extra.\n"
            "  config: {schema: marts, materialized: table, contract: {enforced: true}}\n"
            "  columns:\n  - {name: study_id, description: Study., data_type: varchar}\n"
        )
        done = run(home, project=project)
        assert done.returncode == 0, done.stderr
        with duckdb.connect(str(home / "published" / "current.duckdb"), read_only=True) as connection:
            assert connection.execute("select study_id from dim_extra").fetchall() == [("published",)]
    finally:
        for file in (mart, described):
            file.unlink(missing_ok=True)
    done = run(home, project=project)
    assert done.returncode == 0, done.stderr
    with duckdb.connect(str(home / "published" / "current.duckdb"), read_only=True) as connection:
        assert "dim_extra" not in {name for (name,) in connection.execute("show tables").fetchall()}
    assert snapshot_id(home) == before


def test_a_damaged_warehouse_is_set_aside_and_rebuilt_with_the_same_content(project_copy: Copy, run: Run) -> None:
    project, home = project_copy
    before = snapshot_id(home)
    (home / "warehouse.duckdb").write_bytes(b"not a database" * 1000)
    done = run(home, project=project)
    assert done.returncode == 0, done.stderr
    assert "set aside as warehouse.duckdb.broken-" in done.stdout
    assert list(home.glob("warehouse.duckdb.broken-*"))
    assert snapshot_id(home) == before


def test_a_home_that_cannot_be_written_is_named(tmp_path: Path, run: Run) -> None:
    (tmp_path / "file").write_text("")
    for arguments in ([], ["--answer"]):
        done = run(tmp_path / "file" / "home", *arguments)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert str(tmp_path / "file") in done.stderr
