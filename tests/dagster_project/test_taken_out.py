"""Something taken out of a study, and a clock that was ahead once: the next run goes through as if nothing had been."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import duckdb

from tests.support.clocks import date_home
from tests.support.publishing import published_state

Run = Callable[..., subprocess.CompletedProcess[str]]

CANDIDATE = """
candidates:
  - model_id: Inside-7B
    hub_id: example/Inside-7B
    publisher: Somebody
    family: Qwen2.5
    stage: instruct
    params_b: 7.0
    tokens_t: 15.0
"""

MORE = """
study_id: more
title: Two more models
synthetic: false
source: made up for a test
size_groups: [{name: all, params_b_from: 0, default: One}]
models:
  - {model_id: One, hub_id: e/one, publisher: A, family: A, stage: base, params_b: 1.0, tokens_t: 1.0}
  - {model_id: Two, hub_id: e/two, publisher: B, family: B, stage: base, params_b: 2.0, tokens_t: 2.0}
"""


def count(home: Path, condition: str, table: str = "fct_recommendations") -> int:
    with duckdb.connect(str(home / "published" / "current.duckdb"), read_only=True) as connection:
        found = connection.execute(f"select count(*) from {table} where {condition}").fetchone()
    assert found is not None
    return int(found[0])


def test_a_candidate_and_a_study_file_that_are_taken_out_leave_nothing(
    project_copy: tuple[Path, Path], run: Run
) -> None:
    project, home = project_copy
    before = published_state(home)
    study = project / "dagster_project" / "studies" / "published.yaml"
    more = study.with_name("more.yaml")
    original = study.read_text()
    study.write_text(original + CANDIDATE)
    more.write_text(MORE)
    done = run(home, project=project)
    assert done.returncode == 0, done.stderr
    assert count(home, "model_id = 'Inside-7B'") > 0 and count(home, "study_id = 'more'", "dim_base_models") > 0
    study.write_text(original)
    more.unlink()
    done = run(home, project=project)
    assert done.returncode == 0, done.stderr
    assert count(home, "model_id = 'Inside-7B'") == count(home, "study_id = 'more'", "dim_base_models") == 0
    assert published_state(home)[-1] == before[-1], "the content of before"


def test_a_run_of_the_future_does_not_hold_back_those_of_today(project_copy: tuple[Path, Path], run: Run) -> None:
    project, home = project_copy
    date_home(home)
    study = project / "dagster_project" / "studies" / "published.yaml"
    study.write_text(study.read_text().replace("\ntitle: ", "\ntitle: Today, ", 1))
    gains = project / "dbt" / "models" / "marts" / "fct_size_group_gains.sql"
    before = gains.read_text()
    gains.write_text(before.replace("compared.score desc", "compared.score + 1 desc"))
    assert gains.read_text() != before
    done = run(home, project=project)
    assert done.returncode == 0, done.stderr
    assert count(home, "title like 'Today, %'", "dim_studies") == 1
    done = run(home, project=project)
    assert done.returncode == 0 and "Nothing changed since the last run." in done.stdout, done.stderr
