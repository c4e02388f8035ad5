"""The same report as Markdown and as CSV, read back by what reads them."""

import csv
import io
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import reporting

from osxfs_sim.lab.results import load_result
from osxfs_sim.lab.summary import summarize
from osxfs_sim.report.contents import contents_of
from osxfs_sim.report.csv import COLUMNS, csv_of
from osxfs_sim.report.markdown import markdown
from osxfs_sim.report.tables import markdown_text

RESULTS = sorted((Path(__file__).parents[2] / "docs" / "results").glob("*.json"))
NASTY = 'a "quoted", name\nof two lines\rand a third; =1+1, Ω'


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_each_sample_of_a_published_result_is_a_row(path):
    comparison = load_result(path)
    found = rows(csv_of([comparison]))
    assert tuple(found[0]) == COLUMNS
    assert [(row["arm"], float(row["wall_s"])) for row in found] == [
        (each.arm, each.wall_s) for each in comparison.samples
    ]


def test_what_does_not_exist_is_an_empty_cell_and_units_are_plain_numbers():
    native, osxfs, *_ = rows(csv_of([reporting.comparison(1)]))
    assert (native["requests"], native["server_processor_s"], native["failure"]) == ("", "", "")
    assert (osxfs["requests"], osxfs["missing_lookups"]) == ("512", "200")
    assert float(osxfs["server_processor_s"]) == 1.25
    assert 130_000 <= int(osxfs["target_p50_ns"]) < int(osxfs["observed_p50_ns"]) < 135_000


@pytest.mark.parametrize("text", [NASTY, ",", '"', "\n", "\r\n", "", " x "])
def test_names_with_commas_quotes_and_lines_are_read_back(text):
    comparison = reporting.comparison(1, {f"arm{text}": None, "osxfs": 1_000})
    comparison.samples[1].failure = f"why{text}"
    first, second = rows(csv_of([comparison]))
    assert (first["arm"], second["failure"]) == (f"arm{text}", f"why{text}")


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")))
def test_any_failure_is_read_back_from_csv(text):
    comparison = reporting.comparison(1, {"native": None})
    comparison.samples[0].failure = text
    assert rows(csv_of([comparison]))[0]["failure"] == text


def test_several_results_are_one_table():
    found = rows(csv_of([reporting.comparison(1), reporting.comparison(1, case="ember")]))
    assert [row["case"] for row in found] == ["rake"] * 3 + ["ember"] * 3


# Markdown


def said(comparison) -> str:
    return markdown([contents_of(comparison, summarize(comparison, resamples=200))])


def tables(text: str) -> list[list[str]]:
    """Runs of lines that begin with a bar."""
    found: list[list[str]] = [[]]
    for line in text.splitlines():
        if line.startswith("|"):
            found[-1].append(line)
        elif found[-1]:
            found.append([])
    return [each for each in found if each]


def uneven(text: str) -> list[str]:
    """Lines of tables that have another number of cells than their table's first."""
    bars = re.compile(r"(?<!\\)\|")
    return [
        line
        for table in tables(text)
        for line in table
        if len(bars.findall(line)) != len(bars.findall(table[0]))
    ]


@pytest.mark.takes_seconds
@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_each_published_result_has_whole_tables_in_markdown(path):
    text = said(load_result(path))
    assert text.startswith("# ")
    assert len(tables(text)) >= 3
    assert uneven(text) == []


def test_a_table_that_is_broken_is_noticed():
    assert uneven("| a | b |\n| --- | --- |\n| 1 | 2 | 3 |") == ["| 1 | 2 | 3 |"]


def test_a_bar_or_a_tag_in_a_name_breaks_nothing():
    comparison = reporting.comparison(1, {"native|x": None, "<b>\nosxfs": 1_000})
    comparison.samples[1].failure = "exit code 1: a | b\n# not a title"
    text = said(comparison)
    assert uneven(text) == []
    assert "\\<b\\> osxfs" in text
    assert not re.search(r"^# not a title", text, re.MULTILINE)


@settings(deadline=None)
@given(st.text())
def test_escaped_text_is_one_line_without_anything_special(text):
    assert not re.search(r"(?<!\\)(?:\\\\)*[|<*`]|[\n\r]", markdown_text(text))


def test_markdown_tells_of_failures_first_and_how_to_get_a_trace():
    comparison = reporting.comparison(2)
    comparison.samples[1].failure = "exit code 7"
    text = said(comparison)
    assert text.index("exit code 7") < text.index("Wall times per arm")
    assert "--trace DIR" in text
