"""A published table beside ours, as people see it: each number is one of the samples'."""

import pytest
from support.reproducing import comparison, ideal, samples, study

from osxfs_sim.lab.reproduction import bars_of
from osxfs_sim.model.formatting import format_signed_percent
from osxfs_sim.report.plots import DARK, Style, ratios, render
from osxfs_sim.report.reproduction import (
    caveats,
    reproduction_markdown,
    reproduction_report,
    tables_of,
)


def test_the_table_has_published_and_ours_side_by_side() -> None:
    table, added, checks = tables_of(study(), ideal())
    rows = {(row[0], row[1]): row for row in table.rows}
    bind = table.rows[3]
    assert bind[1:] == (
        *("bind mount", "5", "4.00 s", "20.0 s [20.0..20.0]", "2.00 [2.00..2.00]"),
        *("2.00", "+0.0 %", "reached"),
    )
    assert rows["Slow", "native"][6:] == ("1.00", "", "")
    assert table.rows[6][-2:] == ("+20 %", "missed")
    (line,) = added.rows
    assert line == (
        *("Slow", "2.00 s", "2.0 s", "2.00 s ± 0.00", "+0.0 %", "0.0 %"),
        *("2.00", "2.00", "+0.0 %", "100", "100us", "100us"),
    )
    assert [row[2] for row in checks.rows] == [
        "2 times",
        "50 % less",
        "2 s",
        "not measured",
        "not run",
    ]
    assert checks.rows[-1][-1] == "somebody; not run: it needs a Mac"


def test_a_latency_below_the_floor_is_marked() -> None:
    _, added, _ = tables_of(study(), ideal(floor_ns=150_000))
    assert added.rows[0][2] == "3.0 s <floor"


def test_on_a_terminal_it_names_its_source_and_machine(capsys: pytest.CaptureFixture[str]) -> None:
    failed = samples("slow bind", [1.0], shared=True)
    failed[0].failure = "it broke"
    table = comparison([*samples("native", [10.0]), *failed], {"slow bind": 5.0})
    reproduction_report(study(), ideal(), {"table": table}, "a small machine")
    said = capsys.readouterr().out
    for text in ("A tiny table", "nobody; a big one", "missed", "a small machine", "it broke"):
        assert text in said


def test_markdown_has_the_same_cells() -> None:
    said = reproduction_markdown(study(), ideal())
    assert "| Slow | native |" in said
    assert "| 2.00 \\[2.00..2.00\\] | 2.00 | +0.0 % | reached |" in said
    assert said.count("---:") > 3


def test_a_warning_is_said_once_with_its_arms_and_few_runs_are_left_to_the_legend() -> None:
    late = [
        *samples("native", [10.0] * 3),
        *samples("slow bind", [12.0] * 3, shared=True, good=False),
        *samples("slow hybrid", [12.0] * 3, shared=True, good=False),
    ]
    (line,) = caveats({"table": comparison(late, {})})
    assert line.startswith("table: slow bind, slow hybrid: out of tolerance in 3 of 3 runs")


@pytest.mark.parametrize(("share", "said"), [(0.042, "+4.2 %"), (-0.5, "-50 %"), (-1e-9, "+0.0 %")])
def test_percentages(share: float, said: str) -> None:
    assert format_signed_percent(share) == said


@pytest.mark.parametrize("style", [Style(), Style(theme=DARK, width_inches=3.5)])
def test_the_picture_names_each_platform_and_both_ratios(style: Style) -> None:
    svg = render(ratios(bars_of(ideal()), style), style, "svg").decode()
    for text in ("Slow", "Local", "2.00 (2.00)", "published", "here"):
        assert text in svg
