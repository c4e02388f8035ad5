"""The page's text and structure: all is escaped, nothing is fetched, tables say what they are."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from support import reporting

from osxfs_sim.lab.results import Comparison, load_result
from osxfs_sim.lab.summary import summarize
from osxfs_sim.report.contents import Contents, contents_of
from osxfs_sim.report.page import linked, page
from osxfs_sim.report.traces import analyzed, chosen_traces
from osxfs_sim.trace.analysis import analyze_file

RESULTS = Path(__file__).parents[2] / "docs" / "results"
HOSTILE = "<script>alert('x')</script>\"><img src=x onerror=alert(1)> $\\frac$ {{ 7*7 }} \x1b[31m"


def contents(comparison: Comparison, beside: Path = Path()) -> Contents:
    summaries = summarize(comparison, resamples=200)
    traces, troubles = analyzed(chosen_traces(comparison, summaries, beside), analyze_file)
    return contents_of(comparison, summaries, traces, troubles)


@pytest.fixture(scope="module")
def plain() -> str:
    """The page of a comparison without anything particular."""
    return page([contents(reporting.comparison())])


class Structure(HTMLParser):
    """What a reader's program would find: elements, their attributes, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag in tags]


def faults(html: str) -> list[str]:
    """What no page may have: things to be fetched or run, pictures without words."""
    structure = Structure(html)
    found = []
    for tag, attributes in structure.elements:
        for name, value in attributes.items():
            if name.startswith("on"):
                found.append(f"{tag} has {name}")
            if name in ("src", "srcset", "poster", "data", "action") and not str(value).startswith(
                "data:image/"
            ):
                found.append(f"{tag} fetches {str(value)[:20]}")
        if tag in ("script", "iframe", "object", "embed", "base", "form"):
            found.append(tag)
        if tag == "link" and not str(attributes.get("href")).startswith("data:"):
            found.append("link fetches")
        if tag == "img" and not attributes.get("alt"):
            found.append("img without words")
        if tag == "th" and attributes.get("scope") not in ("row", "col"):
            found.append("th without scope")
    styles = "".join(re.findall(r"<style>(.*?)</style>", html, re.DOTALL))
    found += re.findall(r"url\(|@import", styles)
    if len(structure.all("table")) != len(structure.all("caption")):
        found.append("table without caption")
    return found


@pytest.mark.takes_seconds
@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_every_published_result_makes_a_page_without_fault(path):
    html = page([contents(load_result(path))])
    assert faults(html) == []
    structure = Structure(html)
    assert structure.all("html") == [{"lang": "en"}]
    assert structure.all("title")
    assert structure.all("h1") == [{}]
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in structure.all(
        "meta"
    )
    ids = [attributes["id"] for _, attributes in structure.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(
    ("html", "fault"),
    [
        ("<img src='data:image/png,x'>", "img without words"),
        ("<img src='https://example.org/x.png' alt='x'>", "img fetches https://example.org/"),
        ("<picture><source srcset='x.svg'></picture>", "source fetches x.svg"),
        ("<script>alert(1)</script>", "script"),
        ("<p onclick='x'>", "p has onclick"),
        ("<link rel=stylesheet href='https://example.org/x.css'>", "link fetches"),
        ("<style>@import 'x.css';</style>", "@import"),
        ("<style>p { background: url(x.png) }</style>", "url("),
        ("<table><tr><td></td></tr></table>", "table without caption"),
        ("<table><caption>x</caption><tr><th>x</th></tr></table>", "th without scope"),
    ],
)
def test_the_search_for_faults_finds(html, fault):
    assert any(each.startswith(fault) for each in faults(html)), faults(html)


@pytest.mark.takes_seconds
def test_what_a_result_says_is_text_wherever_it_stands():
    arms = {f"native{HOSTILE}": None, f"osxfs{HOSTILE}": 130_000}
    comparison = reporting.comparison(
        3,
        arms,
        title=f"title{HOSTILE}",
        variant=HOSTILE,
        options=[HOSTILE],
        started=HOSTILE,
        machine={"processor": HOSTILE, "packages": {HOSTILE: HOSTILE}},
        claims=[{"text": HOSTILE, "source": f"javascript:{HOSTILE}"}],
    )
    comparison.samples[0].failure = f"exit code 1: {HOSTILE}"
    comparison.samples[1].trace = f"{HOSTILE}.parquet"
    html = page([contents(comparison)])
    assert faults(html) == []
    assert "<script>alert('x')</script>" in Structure(html).text, "it is shown as what it is"
    assert "{{ 7*7 }}" in Structure(html).text
    assert 'href="javascript' not in html


@pytest.mark.parametrize(
    ("source", "html"),
    [
        ("https://example.org/a?b=1&c=2", "b=1&amp;c=2</a>"),
        ("javascript:alert(1)", "javascript:alert(1)"),
        ("vendor's page on osxfs", "vendor's page on osxfs"),
        ('https://example.org/" onclick="x', 'https://example.org/" onclick="x'),
    ],
)
def test_only_an_address_becomes_a_link(source, html):
    made = str(linked(source))
    assert html in made
    assert made.startswith("<a ") == source.endswith("c=2")


@pytest.mark.takes_seconds
def test_the_same_result_gives_the_same_page(plain):
    assert page([contents(reporting.comparison())]) == plain


@pytest.mark.takes_seconds
def test_a_failed_run_and_a_quick_command_are_told_before_the_times():
    comparison = reporting.comparison(quick=True)
    comparison.samples[1].failure = "exit code 7: no space"
    text = Structure(page([contents(comparison)])).text
    told = text.index("Know before believing")
    for caveat in ("exit code 7: no space", "shortened command was run"):
        assert told < text.index(caveat) < text.index("Wall times per arm")


def test_what_is_true_of_every_arm_is_told_once():
    told = contents(reporting.comparison(1)).caveats
    assert sum("no interval can be given for 1 run" in each for each in told) == 1
    assert any(each.startswith("every arm: no interval") for each in told)


def test_seed_caches_machine_and_profile_values_are_there(plain):
    text = Structure(plain).text
    for word in ("AMD EPYC", "Linux 6.1", "42", "warm", "consistent: nothing cached", "14.51us"):
        assert word in text


def test_no_difference_is_a_tilde_and_explained():
    arms = {"native": None, "a twin": None}
    comparison = reporting.comparison(10, arms)
    for sample in comparison.samples:
        sample.wall_s = 5.0 + 0.01 * sample.round
    found = contents(comparison)
    cells = dict(zip(found.arms.columns, found.arms.rows[1], strict=True))
    assert cells["/ native"] == "~"
    assert "no difference to the baseline was detected" in Structure(page([found])).text


@pytest.mark.takes_seconds
def test_two_results_are_on_one_page_with_a_table_of_contents():
    other = reporting.comparison(title="another case", case="ember")
    structure = Structure(page([contents(reporting.comparison()), contents(other)]))
    anchors = [each["href"] for each in structure.all("a") if str(each.get("href")).startswith("#")]
    ids = {attributes.get("id") for _, attributes in structure.elements}
    assert anchors == ["#result-1", "#result-2"]
    assert {anchor[1:] for anchor in anchors if anchor} <= ids


def test_without_a_trace_the_page_says_how_to_get_one(plain):
    assert "--trace DIR" in Structure(plain).text


@pytest.mark.takes_seconds
def test_with_traces_the_page_says_where_the_time_went(tmp_path):
    comparison = reporting.comparison()
    reporting.write_trace(tmp_path / "osxfs.parquet")
    for sample in comparison.samples:
        if sample.arm == "osxfs":
            sample.trace = "osxfs.parquet"
    html = page([contents(comparison, tmp_path)])
    structure = Structure(html)
    assert faults(html) == []
    assert "--trace DIR" not in structure.text
    assert "Trace of osxfs (fresh)" in structure.text
    alts = [str(each["alt"]) for each in structure.all("img")]
    assert any("missing names" in alt and "rest" in alt for alt in alts)
    assert any("LOOKUP 480" in alt for alt in alts)


@pytest.mark.takes_seconds
def test_a_trace_that_is_gone_is_told_and_the_rest_is_shown(tmp_path):
    comparison = reporting.comparison()
    comparison.samples[1].trace = "gone.parquet"
    found = contents(comparison, tmp_path)
    assert any("gone.parquet is not beside the result any more" in each for each in found.caveats)
    assert "Wall times per arm" in Structure(page([found])).text


def test_the_words_of_a_picture_are_its_finding(plain):
    walls, latencies = (str(each["alt"]) for each in Structure(plain).all("img"))
    assert re.search(r"osxfs \(fresh\) 16\.\d s in 8 runs, interval 16\.\d s to 17\.\d s", walls)
    assert re.search(r"osxfs: metadata 130us and 13\d\.?\d*us \(3,200 answers\)", latencies)


def test_a_comparison_in_which_nothing_counts_has_a_page_too():
    comparison = reporting.comparison(2)
    for sample in comparison.samples:
        sample.failure = "exit code 1: all is lost"
    html = page([contents(comparison)])
    assert faults(html) == []
    assert "no run counts" in html
