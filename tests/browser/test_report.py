"""The report in headless Chromium: drawn without a network, on wide and narrow screens, light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, Route

pytestmark = pytest.mark.browser

DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}


class Watched:
    """A page, what it asked the network for, and what went wrong in it."""

    def __init__(self, page: Page, url: str) -> None:
        self.page, self.requests, self.errors = page, [], []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._console)
        page.on("dialog", lambda dialog: (self.errors.append("a dialog opened"), dialog.dismiss()))
        page.route("**/*", lambda route: self._answer(route, url))
        page.goto(url)
        page.wait_for_selector("html[data-ready]", timeout=60_000)

    def _console(self, message) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(message.text)

    @staticmethod
    def _answer(route: Route, url: str) -> None:
        if route.request.url == url:
            route.continue_()
        else:
            route.abort()


@contextmanager
def opened(browser: Browser, url: str, viewport: dict = DESKTOP, scheme: str = "light") -> Iterator[Watched]:
    context = browser.new_context(viewport=viewport, color_scheme=scheme)
    try:
        yield Watched(context.new_page(), url)
    finally:
        context.close()


def _luminance(colour: str) -> float:
    """Relative luminance (0 black to 1 white) of 'rgb(r, g, b)', as WCAG defines it."""
    channels = [int(part) / 255 for part in colour[colour.index("(") + 1 : colour.index(")")].split(",")[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _wait_until_all_drawn(page: Page, theme: str) -> None:
    page.wait_for_function(
        "(theme) => [...document.querySelectorAll('.panel:not([hidden]) .chart')]"
        ".every((host) => host.dataset.drawn === theme)",
        arg=theme,
    )


def test_the_page_asks_for_nothing_and_reports_no_error(browser: Browser, page_url: str):
    with opened(browser, page_url) as watched:
        watched.page.mouse.wheel(0, 20_000)
        watched.page.wait_for_timeout(200)
        assert watched.requests == [page_url]
        assert watched.errors == []


def test_every_chart_is_drawn(browser: Browser, page_url: str):
    with opened(browser, page_url) as watched:
        page = watched.page
        sizes = page.evaluate(
            """() => [...document.querySelectorAll('.panel:not([hidden]) .chart')].map((host) => {
                const drawing = host.querySelector('svg, canvas');
                const box = drawing ? drawing.getBoundingClientRect() : { width: 0, height: 0 };
                const marks = drawing ? drawing.querySelectorAll('path, text').length : 0;
                return [host.dataset.spec, box.width, box.height, marks];
            })"""
        )
        assert len(sizes) >= 40
        drawn = {name.rsplit("-", 1)[0].removeprefix("published_") for name, *_ in sizes}
        assert drawn >= {
            "prediction_errors",
            "predicted_regression",
            "coefficients_regression",
            "predicted_coverage_regression",
            "component_variance",
            "component_loadings",
        }
        for name, width, height, marks in sizes:
            assert width > 100 and height > 60 and marks > 5, name
        # A chart chosen from the list is drawn when it is chosen.
        choice = page.locator("select[data-choice]").first
        figure = page.locator(f"#{choice.get_attribute('data-choice')}")
        choice.select_option("2")
        figure.locator(".panel").nth(2).locator("svg").wait_for(state="visible")
        assert figure.locator(".panel:not([hidden])").count() == 1


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_document_never_scrolls_sideways(browser: Browser, page_url: str, viewport: dict):
    with opened(browser, page_url, viewport) as watched:
        assert watched.page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
        inner = watched.page.evaluate(
            "[...document.querySelectorAll('.chart')].filter((e) => e.scrollWidth > e.clientWidth + 1).length"
        )
        assert inner == 0
        # Nothing of the box on trust may be cut off: its figures are what the page is honest by.
        cut = watched.page.evaluate(
            """() => [...document.querySelectorAll('.trust, .trust *')]
                .filter((e) => e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display !== 'inline')
                .map((e) => e.outerHTML.slice(0, 120))"""
        )
        assert watched.page.locator(".trust").count() == 2 and cut == []
        assert watched.errors == []


def test_dark_scheme_is_dark_everywhere_and_follows_the_system(browser: Browser, page_url: str):
    def colours(page: Page) -> tuple[float, float, float]:
        found = page.evaluate(
            """() => {
                const svg = document.querySelector('.chart svg');
                const label = svg.querySelector('.role-axis-label text');
                return [getComputedStyle(document.body).backgroundColor,
                        getComputedStyle(svg).backgroundColor, getComputedStyle(label).fill];
            }"""
        )
        body, background, label = (_luminance(colour) for colour in found)
        return body, background, label

    with opened(browser, page_url, scheme="dark") as watched:
        body, background, label = colours(watched.page)
        assert body < 0.05 and background < 0.05 and label > 0.6
        watched.page.emulate_media(color_scheme="light")
        _wait_until_all_drawn(watched.page, "light")
        body, background, label = colours(watched.page)
        assert body > 0.85 and background > 0.85 and label < 0.1
        assert watched.errors == []


def test_print_is_light_also_from_a_dark_screen(browser: Browser, page_url: str):
    with opened(browser, page_url, scheme="dark") as watched:
        watched.page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
        _wait_until_all_drawn(watched.page, "light")
        watched.page.emulate_media(media="print")
        background = watched.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert _luminance(background) > 0.95


def test_a_tooltip_names_the_model_and_its_figures(browser: Browser, page_url: str):
    with opened(browser, page_url) as watched:
        bar = watched.page.locator("#published_gains_regression .chart svg .mark-rect path").first
        bar.scroll_into_view_if_needed()
        # The whisker lies over the bar and has the same tooltip.
        bar.hover(force=True)
        tooltip = watched.page.locator("#vg-tooltip-element.visible")
        tooltip.wait_for(state="visible")
        words = tooltip.inner_text()
        assert "Base model" in words and "model-" in words and "Gain (points)" in words


def test_a_hostile_name_is_text_in_a_tooltip(browser: Browser, page_url: str):
    with opened(browser, page_url) as watched:
        bar = watched.page.locator("#hostile_gains_regression .chart svg .mark-rect path").first
        bar.scroll_into_view_if_needed()
        # The whisker lies over the bar and has the same tooltip.
        bar.hover(force=True)
        tooltip = watched.page.locator("#vg-tooltip-element.visible")
        tooltip.wait_for(state="visible")
        assert "<script>alert(1)</script>" in tooltip.inner_text()
        assert tooltip.locator("script, img").count() == 0
        assert watched.errors == []


def test_a_predicted_model_is_named_in_its_tooltip(browser: Browser, page_url: str):
    with opened(browser, page_url) as watched:
        point = watched.page.locator("#published_predicted_regression .chart svg .mark-symbol path").last
        point.scroll_into_view_if_needed()
        point.hover(force=True)
        tooltip = watched.page.locator("#vg-tooltip-element.visible")
        tooltip.wait_for(state="visible")
        words = tooltip.inner_text()
        assert "model-" in words and "Observed score" in words and "Range of the training features" in words


def test_the_largest_error_sorts_first(browser: Browser, page_url: str):
    with opened(browser, page_url) as watched:
        table = watched.page.locator("#published_errors_regression table")
        table.locator("thead th").nth(1).locator("button").click()
        errors = [float(text.split("\t")[1].split()[0]) for text in table.locator("tbody tr").all_inner_texts()]
        assert len(errors) == 6 and errors == sorted(errors, reverse=True)


def test_a_table_sorts_by_each_heading_both_ways(browser: Browser, page_url: str):
    with opened(browser, page_url) as watched:
        page = watched.page
        table = page.locator("#published_results_regression table")
        headings = table.locator("thead th")
        titles = [title.split("\n")[0].strip() for title in headings.all_inner_texts()]
        chat = next(place for place, title in enumerate(titles) if title.startswith("Chat"))

        def column(place: int) -> list[str]:
            return [row.split("\t")[place] for row in table.locator("tbody tr").all_inner_texts()]

        def values() -> list[float]:
            return [float(text.split()[0]) for text in column(chat)]

        button = headings.nth(chat).locator("button")
        button.focus()
        page.keyboard.press("Enter")
        assert headings.nth(chat).get_attribute("aria-sort") == "descending"
        assert values() == sorted(values(), reverse=True)
        button.click()
        assert headings.nth(chat).get_attribute("aria-sort") == "ascending"
        assert values() == sorted(values())
        headings.nth(0).locator("button").click()
        assert column(0) == sorted(column(0)) and headings.nth(chat).get_attribute("aria-sort") is None


def test_the_contents_lead_to_sections_by_keyboard(browser: Browser, page_url: str):
    with opened(browser, page_url) as watched:
        page = watched.page
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        targets = page.evaluate(
            "[...document.querySelectorAll('nav a')].map((a) => Boolean(document.querySelector(a.hash)))"
        )
        assert len(targets) >= 17 and all(targets)
        labels = page.evaluate(
            "[...document.querySelectorAll('.chart')].map((e) => (e.getAttribute('aria-label') || '').length)"
        )
        assert min(labels) > 20
