"""`make rebuild` and `make docs`: from the parts alone, and from the dbt project alone."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

import warehouse
from dagster_project.cli.rebuild import SCHEMAS, comparison
from models_train.store import Store
from tests.support.buckets import free_port
from tests.support.programs import run_program
from warehouse.content_id import content_id, table_ids

Run = Callable[..., subprocess.CompletedProcess[str]]


def rows(database: Path, table: str) -> list[tuple[object, ...]]:
    with duckdb.connect(str(database), read_only=True) as connection:
        return connection.execute(f"from {table} order by all").fetchall()


def test_a_part_that_cannot_be_read_leaves_the_old_warehouse(project_copy: tuple[Path, Path]) -> None:
    project, home = project_copy
    (part,) = (home / "parts" / "base_models").glob("*/*.parquet")
    whole, before = part.read_bytes(), rows(home / "warehouse.duckdb", "marts.dim_base_models")
    part.write_bytes(b"no part")
    try:
        done = run_program("rebuild", home, project=project)
    finally:
        part.write_bytes(whole)
    assert done.returncode == 1 and str(part) in done.stderr and "Traceback" not in done.stderr
    assert rows(home / "warehouse.duckdb", "marts.dim_base_models") == before
    assert not (home / "rebuild").exists()


def test_the_parts_give_back_what_was_lost_from_the_warehouse(project_copy: tuple[Path, Path], run: Run) -> None:
    """Rows changed in a raw table and in a mart: the rebuilt warehouse has them as they were, and all else the same."""
    project, home = project_copy
    before = rows(home / "warehouse.duckdb", "marts.fct_reward_model_results")
    pointer = os.readlink(home / "published" / "current.duckdb")
    with duckdb.connect(str(home / "warehouse.duckdb")) as connection:
        connection.execute("delete from raw.base_models where model_id like 'gemma%'")
        connection.execute("update marts.fct_reward_model_results set score = 100")
    done = run_program("rebuild", home, project=project)
    assert done.returncode == 0, done.stderr
    found = re.findall(r"^(\w+\.\w+) +([0-9a-f]{12}) (same|was [0-9a-f]{12})$", done.stdout, flags=re.MULTILINE)
    differ = {name for name, _, word in found if word != "same"}
    assert len(found) > 50 and differ == {"raw.base_models", "marts.fct_reward_model_results"}
    assert f"2 of {len(found)} tables differ from before" in done.stdout
    assert rows(home / "warehouse.duckdb", "marts.fct_reward_model_results") == before
    assert rows(home / "warehouse.duckdb.before-rebuild", "marts.fct_reward_model_results") != before
    assert os.readlink(home / "published" / "current.duckdb") == pointer
    again = run(home, project=project)
    assert again.returncode == 0 and "Nothing changed since the last run." in again.stdout


def test_a_bucket_of_parts_gives_an_empty_home_the_same_tables(
    project_copy: tuple[Path, Path], run: Run, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, home = project_copy
    store, published = Store.at(bucket), f"{bucket}-published"
    for item in Store.at(home / "parts").list():
        store.put(item.key, (home / "parts" / item.key).read_bytes())
    with duckdb.connect(str(home / "warehouse.duckdb"), read_only=True) as connection:
        wanted = table_ids(connection, SCHEMAS)
    monkeypatch.setenv("REWARDBASE_PARTS", bucket)
    monkeypatch.setenv("REWARDBASE_PUBLISH", published)
    done = run_program("rebuild", tmp_path / "empty", project=project)
    assert done.returncode == 0, done.stderr
    assert dict(re.findall(r"^(\w+\.\w+) +([0-9a-f]{12})$", done.stdout, flags=re.MULTILINE)) == wanted
    assert not (tmp_path / "empty" / "parts").exists() and (tmp_path / "empty" / "part_facts.sqlite").exists()
    again = run(tmp_path / "empty", project=project)
    assert again.returncode == 0, again.stdout + again.stderr
    with warehouse.open(published, tmp_path / "cache") as connection:
        assert content_id(connection) == content_id_of(home)
    assert run_program("verify", tmp_path / "empty", project=project).returncode == 0
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    away = run(tmp_path / "empty", project=project)
    assert away.returncode == 1 and "S3 at 127.0.0.1 cannot be reached" in away.stderr + away.stdout
    assert "Traceback" not in away.stderr


def content_id_of(home: Path) -> str:
    with duckdb.connect(str(home / "published" / "current.duckdb"), read_only=True) as connection:
        return content_id(connection)


def test_what_is_said_of_equal_and_of_no_content() -> None:
    ids = {"raw.a": "0" * 12, "marts.b": "1" * 12}
    assert comparison(ids, dict(reversed(ids.items())))[-1] == "All 2 tables hold what they held."
    assert "no warehouse to compare" in comparison({}, ids)[-1]
    assert [line.split()[2] for line in comparison(ids, {"raw.a": "0" * 12, "raw.c": "2" * 12})[:3]] == [
        "gone",
        "same",
        "new",
    ]


@pytest.mark.slow
def test_docs_are_one_page_that_talks_to_nobody(tmp_path: Path) -> None:
    done = run_program("docs", tmp_path / "home")
    assert done.returncode == 0, done.stderr
    page = tmp_path / "home" / "docs" / "index.html"
    assert str(page) in done.stdout
    text = page.read_text()
    assert "connect-src 'none'" in text[:1000] and '"send_anonymous_usage_stats": false' in text
    assert "model.rewardbase.fct_size_group_gains" in text
    assert not re.search(r"<(script|link|img|iframe)[^>]+(src|href)=[\"']?https?:", text)
    assert [path.name for path in (tmp_path / "home").glob(".docs-*")] == []
