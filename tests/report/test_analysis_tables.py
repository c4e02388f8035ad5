"""An analysis on a terminal: what adds up, what is said, and what is cut."""

import re

import pytest
from support.traces import Row, found, header_of, in_turn, missed, row, table_of

from osxfs_sim.report.analysis import _merged, analysis_report
from osxfs_sim.trace.analysis import analyze


def said(
    capsys: pytest.CaptureFixture[str], rows: list[Row], top: int = 10, **header: object
) -> str:
    analysis_report(analyze(header_of(rows, **header), table_of(rows), title="a [run]"), top)
    return capsys.readouterr().out


def flat(text: str) -> str:
    return " ".join(text.split())


ROWS = in_turn(
    [
        *(missed("a", took_ns=130_000, target_ns=120_000, directory="/lib") for _ in range(10)),
        found("b", 5, took_ns=140_000, target_ns=120_000, directory="/", program="ruby"),
        row("READ", 5, took_ns=300_000, target_ns=300_000, size_bytes=4_096, directory="/"),
        row("FORGET", 5, answered_by="guest"),
    ],
    apart_ns=1_000_000,
)


def test_the_headline_adds_up(capsys):
    assert "wall 20ms = waiting for the share 1.74ms (8.7%) + the rest 18.26ms (91.3%)" in flat(
        said(capsys, ROWS, lasted_ns=20_000_000)
    )


def test_each_cause_has_a_line_and_a_sentence(capsys):
    text = said(capsys, ROWS, lasted_ns=20_000_000)
    assert re.search(r"missing names, asked again +negative +9 +1.17ms +5.8%", text)
    assert re.search(r"necessary +3 +570us", text)
    assert "9 repeated lookups of missing names x 130us = 1.17ms of 20ms" in flat(text)
    assert "10 lookups of missing names x 130us = 1.3ms of 20ms: 9 are repeats" in flat(text)


def test_every_breakdown_has_a_table(capsys):
    text = said(capsys, ROWS)
    for first in ("operation", "directory", "program", "answered by", "requests at once"):
        assert re.search(rf"^ {first} ", text, re.MULTILINE), first
    assert re.search(r"LOOKUP +11 +1.44ms", text)
    assert re.search(r"/lib +10 +1.3ms", text)
    assert re.search(r"ruby +1 +140us", text)
    assert re.search(r"host +12 .*\n guest +1 +0us", text)


def test_the_target_stands_beside_what_was_observed(capsys):
    text = said(capsys, ROWS)
    assert "metadata, medians: target 120us, observed 130us" in text
    assert "read, medians: target 300us, observed 300us" in text
    assert re.search(r"100us to 125.9us +11 +#+ +0", text)


def test_beyond_the_top_is_summed_up(capsys):
    rows = in_turn([row("LOOKUP", directory=f"/{number:02}") for number in range(12)])
    text = said(capsys, rows, top=3)
    assert re.search(r"/02 +1 ", text)
    assert "/03" not in text
    assert re.search(r"others +9 +900ns", text)


def test_names_that_look_like_markup_are_shown_as_they_are(capsys):
    rows = in_turn([row("LOOKUP", directory="/[bold]x", program="[red]")])
    text = said(capsys, rows)
    assert "/[bold]x" in text
    assert "[red]" in text
    assert text.startswith("a [run]")


def test_warnings_come_first(capsys):
    text = said(capsys, ROWS, lost=7)
    assert text.index("7 requests found no room") < text.index("cause")


def test_a_trace_of_nothing_is_told_in_few_lines(capsys):
    text = said(capsys, [], lasted_ns=1_000_000)
    assert "there is no request in it" in text
    assert "cause" not in text


def test_many_at_once_are_one_line(capsys):
    rows = [row("LOOKUP", arrival_ns=number, took_ns=1_000) for number in range(30)]
    assert re.search(r"8 to 30 +1.015us +98.6%", said(capsys, rows))


def test_bins_are_put_together_and_nothing_is_lost():
    edges = list(range(101))
    counts = [0] * 10 + [1] * 70 + [0] * 20
    merged = _merged(edges, counts, counts)
    assert len(merged) <= 14
    assert (merged[0][0], merged[-1][1]) == (10, 80)
    assert sum(each[3] for each in merged) == 70
    assert _merged([1, 2], [0], [0]) == []
