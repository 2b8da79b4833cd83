"""The Dagster UI in headless Chromium, from the asset graph to the published study, by clicking."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page

pytestmark = pytest.mark.browser

PICTURES = Path(__file__).resolve().parents[2] / "var" / "screenshots"
"""What the tests see is kept here, outside of what is committed."""
RUN_LIMIT_MS = 240_000
LATEST_RUN = "{ runsOrError(limit: 1) { ... on Runs { results { runId status jobName } } } }"
LATEST_SNAPSHOT = """{ assetNodeOrError(assetKey: {path: ["published", "snapshot"]}) {
  ... on AssetNode { assetMaterializations(limit: 1) { runId } } } }"""


@pytest.fixture(scope="module")
def address(small_run: Path, tmp_path_factory: pytest.TempPathFactory, ui: SimpleNamespace) -> Iterator[str]:
    """The UI at work on a copy of the small published study."""
    folder = tmp_path_factory.mktemp("ui")
    shutil.copytree(small_run, folder, symlinks=True, dirs_exist_ok=True)
    with ui.at_work(folder / "home", folder / "project") as (where, _):
        yield where


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """A page that fails its test where the console tells of an error, or something is fetched from elsewhere."""
    problems: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        if message.type == "error":
            problems.append(f"console: {message.text}")

    opened = browser.new_page(viewport={"width": 1400, "height": 900})
    opened.on("console", hear)
    opened.on("pageerror", lambda error: problems.append(f"page: {error}"))
    opened.on("request", lambda asked: foreign(asked.url, address) and problems.append(f"elsewhere: {asked.url}"))
    opened.set_default_timeout(30_000)
    yield opened
    opened.close()
    assert problems == []


def foreign(url: str, address: str) -> bool:
    return url.startswith(("http:", "https:", "ws:", "wss:")) and address.split("//")[1] not in url


def picture(page: Page, name: str) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"{name}.png")


def test_the_published_study_is_materialized_by_clicking(page: Page, address: str, ui: SimpleNamespace) -> None:
    page.goto(f"{address}/asset-groups")
    page.wait_for_timeout(8000)
    picture(page, "asset_graph")
    page.goto(f"{address}/locations/rewardbase/jobs/refresh")
    page.wait_for_timeout(8000)
    picture(page, "job")
    page.get_by_role("button", name=re.compile("Materialize")).first.click()
    page.wait_for_timeout(5000)
    picture(page, "started")
