"""The Dagster UI in headless Chromium: from the asset graph to the published study and its report, by clicking."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect

pytestmark = pytest.mark.browser
expect.set_options(timeout=60_000)

PICTURES = Path(__file__).resolve().parents[2] / "var" / "screenshots"
"""What the test saw is kept here; git ignores the folder."""
RUN_LIMIT_MS = 1_800_000
RUNS = "{ runsOrError(limit: 50) { ... on Runs { results { runId } } } }"
PUBLISHED = """{ assetNodeOrError(assetKey: {path: ["published", "snapshot"]}) {
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
    """A page whose test fails where the console tells of an error, or where something is fetched from elsewhere."""
    problems: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        if message.type == "error":
            problems.append(f"console: {message.text}")

    def see(asked: Request) -> None:
        if asked.url.startswith("http") and not asked.url.startswith(address):
            problems.append(f"elsewhere: {asked.url}")

    opened = browser.new_page(viewport={"width": 1400, "height": 900})
    opened.on("console", hear)
    opened.on("request", see)
    opened.on("pageerror", lambda error: problems.append(f"page: {error}"))
    opened.set_default_timeout(180_000)
    yield opened
    opened.close()
    assert problems == []


def picture(page: Page, name: str) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"ui_{name}.png")


def runs(ui: SimpleNamespace, address: str) -> list[str]:
    return [run["runId"] for run in ui.ask(address, RUNS)["runsOrError"]["results"]]


def test_the_published_study_is_materialized_by_clicking(page: Page, address: str, ui: SimpleNamespace) -> None:
    page.goto(f"{address}/asset-groups")
    for group in ("studies", "raw", "marts", "reports", "publish"):
        # The UI lays out the graph first, for seconds on busy cores.
        expect(page.get_by_text(group, exact=True).first).to_be_visible(timeout=300_000)
    page.locator("svg foreignObject").filter(has_text="publish").first.wait_for()
    picture(page, "1_asset_graph")

    before = set(runs(ui, address))
    page.locator('a[href="/jobs"]').click()
    page.locator('a[href$="/jobs/refresh"]').first.click()
    page.get_by_role("button", name="Materialize all").click()
    # The published study has no GPU work, of which the UI warns.
    page.get_by_role("button", name="Confirm").click()
    run_id = ui.wait_for(lambda: next(iter(set(runs(ui, address)) - before), None), 300)
    page.locator('a[href="/runs"]').click()
    page.locator(f'a[href="/runs/{run_id}"]').first.wait_for()
    picture(page, "2_started")
    page.locator(f'a[href="/runs/{run_id}"]').first.click()
    expect(page.get_by_text("Success", exact=True).first).to_be_visible(timeout=RUN_LIMIT_MS)
    picture(page, "3_succeeded")
    made = ui.ask(address, PUBLISHED)["assetNodeOrError"]["assetMaterializations"]
    assert [one["runId"] for one in made] == [run_id], "it is this run that published"

    page.goto(f"{address}/assets/reports/charts")
    page.get_by_text("[Show Markdown]").first.click()
    shown = page.get_by_role("dialog").locator("img").first
    expect(shown).to_be_visible()
    assert shown.evaluate("image => image.complete && image.width > 300")
    picture(page, "4_report_preview")
