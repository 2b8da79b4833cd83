"""Models with bad names through a whole run: in the snapshot and the report as they are, and nowhere as code."""

from __future__ import annotations

import html
import re
from pathlib import Path

import duckdb
import pytest

from tests.support.bad_names import PAGE, RENAMED
from tests.support.programs import files_with_secrets


@pytest.fixture(scope="module")
def snapshot(small_run: Path) -> duckdb.DuckDBPyConnection:
    return duckdb.connect(str(small_run / "home" / "published" / "current.duckdb"), read_only=True)


@pytest.mark.parametrize("table", ["dim_base_models", "fct_reward_model_results", "fct_recommendations"])
def test_every_name_is_in_the_marts_as_it_is(snapshot: duckdb.DuckDBPyConnection, table: str) -> None:
    if table == "fct_recommendations":
        found = {name for (name,) in snapshot.execute(f"select distinct model_id from {table}").fetchall()}
        assert found & set(RENAMED.values())
        return
    wanted = set(RENAMED.values())
    if table == "fct_reward_model_results":
        wanted -= {RENAMED["Llama-3.1-8B"]}  # listed as a parent; no reward model of it is compared
    found = {name for (name,) in snapshot.execute(f"select distinct model_id from {table}").fetchall()}
    assert wanted <= found and not found & set(RENAMED)


def test_every_name_is_shown_in_the_report_and_none_is_markup(small_run: Path) -> None:
    page = (small_run / "home" / "reports" / "base_model_choice.html").read_text()
    assert PAGE not in page and html.escape(PAGE) in page
    for name in set(RENAMED.values()) - {RENAMED["Llama-3.1-8B"]}:
        assert html.escape(name, quote=False) in html.unescape(page).replace("<", "&lt;").replace(">", "&gt;")
    # Every script of the page is one of those that its policy names by hash; the names stand in data only.
    assert not re.search(r"<script[^>]*>alert", page)


def test_pictures_keep_the_names_as_text(small_run: Path) -> None:
    pictures = list((small_run / "home" / "reports").rglob("*.svg"))
    assert pictures and not any("<script" in picture.read_text() for picture in pictures)
    assert any(html.escape(PAGE, quote=False) in picture.read_text() for picture in pictures)


def test_no_file_was_named_or_made_by_a_name(small_run: Path) -> None:
    names = [path.name for path in small_run.rglob("*")]
    assert not [name for name in names if "alert(1)" in name or "drop table" in name or name in ("x", "hacked")]


def test_a_run_leaves_no_pickle_and_no_secret(small_run: Path) -> None:
    endings = {".pkl", ".pickle", ".gpickle", ".pt", ".pth", ".joblib"}
    assert [path for path in (small_run / "home").rglob("*") if path.suffix in endings] == []
    assert files_with_secrets(small_run / "home") == []
