"""What happens around a run: killed, interrupted, two at once, files lost or damaged, things taken away."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import duckdb

from tests.support.programs import started
from tests.support.publishing import published_state

Run = Callable[..., subprocess.CompletedProcess[str]]
Copy = tuple[Path, Path]

GAINS = "dbt/models/marts/fct_size_group_gains.sql"


@contextmanager
def edited(file: Path, old: str, new: str) -> Iterator[None]:
    original = file.read_text()
    assert old in original
    file.write_text(original.replace(old, new, 1))
    try:
        yield
    finally:
        file.write_text(original)


def dbt_logs(home: Path) -> set[Path]:
    """One file for each time that a run came to dbt, from when dbt itself is at work."""
    return set((home / "dbt" / "target").glob("dbt_warehouse*/dbt.log"))


def test_runs_that_were_stopped_in_the_middle_leave_nothing_in_the_way(
    project_copy: Copy, run: Run, ui: SimpleNamespace
) -> None:
    """Killed, then interrupted: each time in dbt, which the second run comes to only where the first freed its pool."""
    project, home = project_copy
    before = published_state(home)
    with edited(project / GAINS, "order by compared.score desc", "order by compared.score desc -- stopped\n"):
        for how, status in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)):
            earlier = dbt_logs(home)
            with started(project, home, until="assets to materialize") as process:
                ui.wait_for(lambda earlier=earlier: dbt_logs(home) - earlier, 400, 0.1)
                os.killpg(process.pid, how)
                _, said = process.communicate(timeout=900)
            assert process.returncode == status, said
            assert ("Interrupted" in said) == (how == signal.SIGINT)
            assert "Traceback" not in said
            assert published_state(home) == before
        done = run(home, project=project)
        assert done.returncode == 0, done.stderr
    assert published_state(home)[-1] == before[-1]


def test_a_second_run_at_the_same_time_says_so(project_copy: Copy, run: Run) -> None:
    project, home = project_copy
    with started(project, home, until="Reading the project") as process:
        done = run(home, project=project)
        process.communicate(timeout=900)
    assert done.returncode == 1
    assert "Another `make run` is at work" in done.stderr
    assert str(process.pid) in done.stderr
    assert process.returncode == 0


def test_what_fails_is_refused_however_often_one_tries_and_nothing_is_left_of_it(project_copy: Copy, run: Run) -> None:
    """First what dbt's data tests find; then what Dagster's checks find; then neither."""
    project, home = project_copy
    before, report = published_state(home), (home / "reports" / "base_model_choice.html").read_bytes()

    def refused(word: str, times: int) -> None:
        for _ in range(times):
            done = run(home, project=project)
            assert done.returncode == 1, "what still fails must not be passed over"
            assert word in done.stderr
            assert "Traceback" not in done.stdout + done.stderr
            assert published_state(home) == before
            assert (home / "reports" / "base_model_choice.html").read_bytes() == report

    test = project / "dbt" / "data_tests" / "no_seed_is_called_table.sql"
    test.write_text("select seed from {{ ref('dim_sources') }} where seed like 'table%'\n")
    refused("no_seed_is_called_table: Got 5 results", 2)
    test.unlink()
    results = project / "dbt" / "models" / "marts" / "fct_reward_model_results.sql"
    with edited(results, "    results.score,\n", "    results.score + 1 as score,\n"):
        refused("mean of the categories", 1)
    mended = run(home, project=project)
    assert mended.returncode == 0, mended.stderr
    assert published_state(home) == before, "the same content is not published twice"


def test_a_damaged_warehouse_is_rebuilt_with_the_same_content_and_a_removed_mart_goes(
    project_copy: Copy, run: Run
) -> None:
    """A mart is added while the warehouse is damaged, and taken away again: what is left is what was there before."""
    project, home = project_copy
    before = published_state(home)
    mart, described = (project / "dbt" / "models" / "marts" / f"dim_extra.{ending}" for ending in ("sql", "yml"))
    mart.write_text("select study_id from {{ ref('dim_studies') }}\n")
    described.write_text(
        "version: 2\nmodels:\n- name: dim_extra\n  description: Extra.\n"
        "  config: {schema: marts, materialized: table, contract: {enforced: true}}\n"
        "  columns:\n  - {name: study_id, description: Study., data_type: varchar}\n"
    )
    (home / "warehouse.duckdb").write_bytes(b"not a database" * 1000)
    done = run(home, project=project)
    assert done.returncode == 0, done.stderr
    assert "set aside as warehouse.duckdb.broken-" in done.stdout
    assert list(home.glob("warehouse.duckdb.broken-*"))
    with duckdb.connect(str(home / "published" / "current.duckdb"), read_only=True) as connection:
        assert connection.execute("select study_id from dim_extra").fetchall() == [("published",)]
    for file in (mart, described):
        file.unlink()
    done = run(home, project=project)
    assert done.returncode == 0, done.stderr
    with duckdb.connect(str(home / "published" / "current.duckdb"), read_only=True) as connection:
        assert "dim_extra" not in {name for (name,) in connection.execute("show tables").fetchall()}
    assert published_state(home)[-1] == before[-1]


def test_a_home_that_cannot_be_written_is_named(tmp_path: Path, run: Run) -> None:
    (tmp_path / "file").write_text("")
    for arguments in ([], ["--answer"]):
        done = run(tmp_path / "file" / "home", *arguments)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert str(tmp_path / "file") in done.stderr
