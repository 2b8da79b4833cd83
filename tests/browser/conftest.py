"""The report of an ordinary study, and headless Chromium to open it with."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime

import duckdb
import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.support import marts_database
from warehouse.reports.page import compose


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        message = "chromium is not installed (Debian: apt-get install chromium), so the report cannot be opened"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(scope="session")
def page_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("browser")
    # One ordinary study, and one whose every name tries to leave its place.
    studies = [
        marts_database.small_study("published"),
        marts_database.small_study("hostile", suffix=marts_database.HOSTILE, per_group=3, synthetic=True),
    ]
    path = marts_database.write_marts(folder / "browser.duckdb", studies)
    with duckdb.connect(str(path), read_only=True) as connection:
        text = compose(connection, "snapshot", datetime(2025, 5, 16, tzinfo=UTC)).text
    page = folder / "report.html"
    page.write_text(text, encoding="utf-8")
    return page.as_uri()
