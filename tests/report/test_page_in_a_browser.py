"""The page in a real browser: offline, on a phone, in the dark and on paper."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from support import reporting

from osxfs_sim.lab.summary import summarize
from osxfs_sim.report.contents import contents_of
from osxfs_sim.report.page import page as html_page
from osxfs_sim.report.traces import analyzed, chosen_traces
from osxfs_sim.trace.analysis import analyze_file

pytestmark = pytest.mark.starts_processes

PHONE = {"width": 360, "height": 740}
DESK = {"width": 1280, "height": 900}
# What A4 has between margins of 15 mm, at 96 dots an inch.
PAPER = {"width": 680, "height": 1009}
LONG = "osxfs-delegated-kernel --latency 130us --bandwidth 250MB/s"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium")
    if program is None:
        pytest.fail("chromium is missing: run scripts/setup")
    with sync_playwright() as playwright:
        # Its sandbox refuses root, as whom tests may run; the page is our own.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with everything: five arms, long names, a failure, traces, two results."""
    directory = tmp_path_factory.mktemp("report")
    arms = {"native": None, "osxfs": 130_000, "osxfs-cached": 130_000, "twin": None, LONG: 130_000}
    comparison = reporting.comparison(6, arms)
    reporting.write_trace(directory / "osxfs.parquet")
    for sample in comparison.samples:
        if sample.arm in ("osxfs", LONG):
            sample.trace = "osxfs.parquet"
    comparison.samples[3].failure = f"exit code 1: {'x' * 300}"
    summaries = summarize(comparison, resamples=200)
    traces, troubles = analyzed(chosen_traces(comparison, summaries, directory), analyze_file)
    other = reporting.comparison(2)
    path = directory / "report.html"
    path.write_text(
        html_page(
            [
                contents_of(comparison, summaries, traces, troubles),
                contents_of(other, summarize(other, resamples=200)),
            ]
        ),
        encoding="utf-8",
    )
    return path


class Visit:
    """A page that is open, what it asked for, and what it complained of."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.requests: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def open(self, path: Path) -> "Visit":
        self.page.goto(path.as_uri())
        return self

    @property
    def fetched(self) -> list[str]:
        """What was asked for besides the page itself, and what the page itself holds."""
        return [url for url in self.requests[1:] if not url.startswith("data:")]

    @property
    def is_scrolled_sideways(self) -> bool:
        return bool(self.page.evaluate("document.documentElement.scrollWidth > innerWidth"))

    @property
    def background(self) -> str:
        return str(self.page.evaluate("getComputedStyle(document.documentElement).backgroundColor"))

    @property
    def sources(self) -> list[str]:
        return list(self.page.evaluate("[...document.images].map(image => image.currentSrc)"))

    def cut_tables(self) -> list[str]:
        """Captions of the tables that reach beyond the paper."""
        return list(
            self.page.evaluate(
                """[...document.querySelectorAll("table")]
                .filter(table => table.getBoundingClientRect().right > innerWidth + 1)
                .map(table => table.caption ? table.caption.textContent : "")"""
            )
        )


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    context = browser.new_context(viewport=PHONE, color_scheme="light", offline=True)
    yield Visit(context.new_page())
    context.close()


def test_the_page_is_complete_offline_and_has_nothing_to_complain_of(visit, report):
    visit.open(report)
    assert visit.page.title()
    assert visit.fetched == []
    assert visit.complaints == []
    widths = visit.page.evaluate("[...document.images].map(image => image.naturalWidth)")
    assert len(widths) >= 6
    assert all(width > 0 for width in widths)


def test_a_page_that_fetches_is_noticed(visit, tmp_path):
    path = tmp_path / "fetching.html"
    path.write_text('<img src="https://example.org/x.png" alt="x"><script>throw 1</script>')
    visit.open(path)
    assert visit.fetched == ["https://example.org/x.png"]
    assert visit.complaints


def test_on_a_phone_only_tables_scroll_sideways(visit, report):
    visit.open(report)
    assert not visit.is_scrolled_sideways
    scrolled = visit.page.evaluate(
        """[...document.querySelectorAll(".scrolls")]
        .map(each => [each.scrollWidth > each.clientWidth, each.tabIndex])"""
    )
    assert any(is_wider for is_wider, _ in scrolled), "or this test shows nothing"
    assert all(tab_index == 0 for _, tab_index in scrolled), "a keyboard can scroll them"
    visit.page.click("summary")
    assert not visit.is_scrolled_sideways


def test_a_page_that_is_too_wide_is_noticed(visit, tmp_path):
    path = tmp_path / "wide.html"
    path.write_text(
        '<meta name="viewport" content="width=device-width"><p style="width: 400px">too wide</p>'
    )
    assert visit.open(path).is_scrolled_sideways


def test_in_the_dark_page_and_pictures_are_dark(visit, report):
    visit.open(report)
    light_background, light_sources = visit.background, visit.sources
    visit.page.emulate_media(color_scheme="dark")
    visit.page.wait_for_function(
        "source => document.images[0].currentSrc != source", arg=light_sources[0]
    )
    assert visit.background != light_background
    assert all(dark != light for dark, light in zip(visit.sources, light_sources, strict=True))


def test_a_phone_gets_the_narrow_pictures(visit, report):
    visit.open(report)
    narrow = visit.sources
    visit.page.set_viewport_size(DESK)
    visit.page.wait_for_function("source => document.images[0].currentSrc != source", arg=narrow[0])
    assert not set(narrow) & set(visit.sources)


def contrast(first: list[int], second: list[int]) -> float:
    """The ratio that WCAG asks for: at least 4.5 for text."""
    bright = sorted(
        sum(
            weight * (value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4)
            for weight, value in zip(
                (0.2126, 0.7152, 0.0722), (c / 255 for c in colour), strict=True
            )
        )
        for colour in (first, second)
    )
    return (bright[1] + 0.05) / (bright[0] + 0.05)


COLOURS = """() => {
  const rgb = text => text.match(/[\\d.]+/g).map(Number);
  const behind = element => {
    for (; element; element = element.parentElement) {
      const colour = rgb(getComputedStyle(element).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour.slice(0, 3);
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll("p, li, a, h1, h3, th, td, dt, dd, caption, summary, span")]
    .map(each => [rgb(getComputedStyle(each).color).slice(0, 3), behind(each)]);
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_can_be_read_against_what_is_behind_it(visit, report, scheme):
    visit.page.emulate_media(color_scheme=scheme)
    visit.open(report)
    pairs = visit.page.evaluate(COLOURS)
    assert min(contrast(ink, paper) for ink, paper in pairs) >= 4.5


def test_text_that_cannot_be_read_is_noticed(visit, tmp_path):
    path = tmp_path / "pale.html"
    path.write_text('<div style="background: #eee"><p style="color: #999">pale</p></div>')
    pairs = visit.open(path).page.evaluate(COLOURS)
    assert min(contrast(ink, paper) for ink, paper in pairs) < 4.5


def test_on_paper_it_is_light_and_whole(visit, report):
    visit.page.set_viewport_size(DESK)
    light_sources = visit.open(report).sources
    visit.page.set_viewport_size(PAPER)
    visit.page.emulate_media(media="print", color_scheme="dark")
    visit.open(report)
    assert visit.background == "rgb(255, 255, 255)"
    assert visit.sources == light_sources
    assert visit.cut_tables() == []
    assert visit.page.locator("details table").first.is_visible(), "what was folded is there"
    document = visit.page.pdf(format="A4")
    assert document.startswith(b"%PDF")
    assert document.count(b"/Type /Page\n") >= 4


def test_a_table_that_paper_would_cut_is_noticed(visit, tmp_path):
    path = tmp_path / "cut.html"
    path.write_text('<table><caption>wide</caption><tr><td style="min-width: 900px">x</table>')
    visit.page.set_viewport_size(PAPER)
    assert visit.open(path).cut_tables() == ["wide"]
