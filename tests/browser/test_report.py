"""The report in headless Chromium: one view at a time, drawn without a network, on wide and narrow screens."""

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
        page.wait_for_selector("html[data-ready]", timeout=300_000)

    def view(self, address: str) -> None:
        """Follow the link of the contents to a view."""
        self.page.evaluate("(address) => { location.hash = address; }", address)
        self.page.wait_for_function("(address) => !document.getElementById(address).matches('.away')", arg=address)

    @property
    def shown(self) -> list[str]:
        """The views that can be seen."""
        return self.page.evaluate(
            "[...document.querySelectorAll('.view')].filter((e) => getComputedStyle(e).visibility === 'visible')"
            ".map((e) => e.id)"
        )

    def _console(self, message) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(message.text)

    @staticmethod
    def _answer(route: Route, url: str) -> None:
        if route.request.url == url.split("#")[0]:
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


def test_the_reader_s_question_is_answered_for_every_choice(browser: Browser, page_url: str):
    with opened(browser, page_url) as watched:
        page = watched.page
        assert page.locator("#ask select").evaluate_all("all => all.map((one) => one.labels[0].textContent)") == [
            "Study",
            "What counts",
            "Objective",
            "Limit",
        ]
        first = page.locator("#asked .pick").text_content()
        # By keyboard alone: the next limit.
        page.locator("#ask-limit").focus()
        page.keyboard.press("ArrowDown")
        page.wait_for_function("location.hash.startsWith('#ask/published/score/regression/')")
        address, asked = page.evaluate("location.hash"), page.locator("#asked").inner_text()
        assert page.locator("#ask-address").get_attribute("href") == address
        assert page.locator("#ask-limit option:checked").text_content() in asked
        answered = page.evaluate(
            """() => [...document.querySelectorAll('#ask-study option')].flatMap((study) => {
                const choose = (key, value) => {
                    const field = document.getElementById(`ask-${key}`);
                    field.value = value;
                    field.dispatchEvent(new Event('change'));
                    return [...document.querySelectorAll(`#ask-${key} option`)].map((one) => one.value);
                };
                const values = (key) => [...document.querySelectorAll(`#ask-${key} option`)].map((one) => one.value);
                choose('study', study.value);
                return values('purpose').flatMap((purpose) => (choose('purpose', purpose), values('objective'))
                    .flatMap((objective) => (choose('objective', objective), values('limit')).map((limit) => {
                        choose('limit', limit);
                        return [location.hash, document.querySelector('#asked .pick').textContent];
                    })));
            })"""
        )
        assert len({address for address, _ in answered}) == len(answered) > 20
        assert all(pick for _, pick in answered)
        assert page.locator("#asked .notice").count() == 1, "the last study is synthetic"
    with opened(browser, page_url + address) as watched:
        assert watched.shown == ["start"]
        assert watched.page.locator("#asked").inner_text() == asked and first
        watched.page.get_by_role("button", name="Copy as SQL").click()
        watched.page.wait_for_function("document.getElementById('copied').textContent !== ''")
        copied = watched.page.locator("#copy-text")
        if copied.is_visible():
            assert copied.input_value().startswith("select model_id, expected_score")
        assert watched.errors == []
    with opened(browser, page_url + "#ask/no-such-study/x/y/z") as watched:
        assert watched.page.locator("#asked .pick").text_content() == first, "an unknown choice is the first one"
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
        watched.view("published/objectives")
        choice = page.locator("#published_objective_differences select[data-choice]")
        figure = page.locator(f"#{choice.get_attribute('data-choice')}")
        choice.select_option("2")
        figure.locator(".panel").nth(2).locator("svg").wait_for(state="visible")
        assert figure.locator(".panel:not([hidden])").count() == 1


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_document_never_scrolls_sideways(browser: Browser, page_url: str, viewport: dict):
    with opened(browser, page_url, viewport) as watched:
        for address in watched.page.evaluate("[...document.querySelectorAll('.view')].map((e) => e.id)"):
            watched.view(address)
            assert watched.page.evaluate("document.documentElement.scrollWidth") <= viewport["width"], address
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
        watched.view("published/gains")
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
        watched.view("hostile/gains")
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
        watched.view("published/predicted")
        point = watched.page.locator("#published_predicted_regression .chart svg .mark-symbol path").last
        point.scroll_into_view_if_needed()
        point.hover(force=True)
        tooltip = watched.page.locator("#vg-tooltip-element.visible")
        tooltip.wait_for(state="visible")
        words = tooltip.inner_text()
        assert "model-" in words and "Observed score" in words and "Distance from the training models" in words


def test_the_largest_error_sorts_first(browser: Browser, page_url: str):
    with opened(browser, page_url) as watched:
        watched.view("published/prediction")
        table = watched.page.locator("#published_errors_regression table")
        table.locator("thead th").nth(1).locator("button").click()
        errors = [float(text.split("\t")[1].split()[0]) for text in table.locator("tbody tr").all_inner_texts()]
        assert len(errors) == 8 and errors == sorted(errors, reverse=True)


def test_a_table_sorts_by_each_heading_both_ways(browser: Browser, page_url: str):
    with opened(browser, page_url) as watched:
        page = watched.page
        watched.view("published/results")
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


def test_the_contents_lead_to_views_by_keyboard(browser: Browser, page_url: str):
    with opened(browser, page_url) as watched:
        page = watched.page
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        targets = page.evaluate("[...document.querySelectorAll('nav a')].map((a) => a.hash.slice(1))")
        found = page.evaluate("[...document.querySelectorAll('.view')].map((e) => e.id)")
        assert targets == found and len(found) >= 17
        labels = page.evaluate(
            "[...document.querySelectorAll('.chart')].map((e) => (e.getAttribute('aria-label') || '').length)"
        )
        assert min(labels) > 20
        link = page.locator('nav a[href="#published/coverage"]')
        link.focus()
        page.keyboard.press("Enter")
        assert watched.shown == ["published/coverage"]
        assert page.evaluate("document.activeElement.id") == "published/coverage-title"
        assert page.locator("nav a[aria-current=page]").get_attribute("href") == "#published/coverage"


def test_one_view_at_a_time_and_back_again(browser: Browser, page_url: str):
    with opened(browser, page_url) as watched:
        page = watched.page
        assert watched.shown == ["start"]
        page.locator('#start a[href="#published/answer"]').click()
        assert watched.shown == ["published/answer"] and page.title().startswith("The answer at a glance · published")
        page.locator('nav a[href="#published/gains"]').click()
        assert watched.shown == ["published/gains"] and page.evaluate("scrollY") == 0
        page.go_back()
        assert watched.shown == ["published/answer"]
        page.go_back()
        assert watched.shown == ["start"]
        page.go_forward()
        assert watched.shown == ["published/answer"]


def test_an_address_opens_its_view_and_an_element_within_it(browser: Browser, page_url: str):
    for fragment, view in (
        ("#published/gains", "published/gains"),
        ("#published_results_regression", "published/results"),
        ("#published", "published/answer"),
        ("#no-such-view", "start"),
    ):
        with opened(browser, page_url + fragment) as watched:
            assert watched.shown == [view], fragment
            assert watched.errors == []


def test_no_view_is_longer_than_six_screens(browser: Browser, page_url: str):
    with opened(browser, page_url, {"width": 1280, "height": 800}) as watched:
        for address in watched.page.evaluate("[...document.querySelectorAll('.view')].map((e) => e.id)"):
            watched.view(address)
            assert watched.page.evaluate("document.documentElement.scrollHeight") <= 6 * 800, address


def test_the_search_filters_rows_and_counts_hits_per_view(browser: Browser, page_url: str):
    with opened(browser, page_url) as watched:
        page = watched.page
        watched.view("published/results")
        rows = page.locator("#published_results_regression tbody tr")
        assert rows.locator("visible=true").count() == 18
        page.get_by_role("searchbox").fill("MODEL-4b-1")
        assert rows.locator("visible=true").count() == 1
        assert rows.locator("visible=true").locator("th").inner_text() == "model-4B-1"
        hits = page.locator('nav a[href="#published/results"] .hits')
        assert hits.inner_text().strip() == "2"
        assert page.locator('nav a[href="#published/gains"] .hits').inner_text() == ""
        status = page.locator("#search-status")
        assert status.inner_text().startswith(tuple("123456789")) and "views" in status.inner_text()
        page.get_by_role("searchbox").fill("no such model")
        assert rows.locator("visible=true").count() == 0 and status.inner_text() == "No table names such a model"
        page.get_by_role("searchbox").fill("")
        assert rows.locator("visible=true").count() == 18 and status.inner_text() == ""
        assert watched.errors == []


def test_all_views_are_printed(browser: Browser, page_url: str):
    with opened(browser, page_url) as watched:
        page = watched.page
        page.get_by_role("searchbox").fill("no such model")
        page.emulate_media(media="print")
        views = page.evaluate("[...document.querySelectorAll('.view')].map((e) => e.id)")
        assert watched.shown == views
        low = page.evaluate("Math.min(...[...document.querySelectorAll('.view')].map((e) => e.clientHeight))")
        assert low > 100
        assert page.locator("#published_results_regression tbody tr").locator("visible=true").count() == 18


def test_everything_is_visible_without_javascript(browser: Browser, page_url: str):
    context = browser.new_context(java_script_enabled=False)
    try:
        page = context.new_page()
        page.goto(page_url)
        views = page.locator(".view")
        assert views.count() >= 17 and views.locator("visible=true").count() > 0
        assert all(views.nth(place).is_visible() for place in range(views.count()))
        assert page.locator("noscript").count() == 1
        assert not page.locator(".search").is_visible()
    finally:
        context.close()
