"""The frontier's tables and picture: all arms are there, and none seen is not none."""

import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest
from support.frontiers import MS, comparison, risk

from osxfs_sim.lab.frontier import upper_bound_of_none
from osxfs_sim.lab.results import Comparison, Sample
from osxfs_sim.report.frontier import (
    Frontier,
    best_table,
    caveats,
    frontier_markdown,
    frontier_of,
    frontier_report,
    points_table,
)
from osxfs_sim.report.frontier_picture import frontier_picture
from osxfs_sim.report.plots import DARK, Style, render

RAKE = comparison("rake")
EMBER = comparison("ember", seed=2)
FRONTIERS = [frontier_of(one, resamples=200) for one in (RAKE, EMBER)]


def cells(rows: tuple[tuple[str, ...], ...], first: str) -> tuple[str, ...]:
    (found,) = (row for row in rows if row[0] == first)
    return found


def test_a_line_per_arm_and_each_group_has_its_own() -> None:
    rows = points_table(FRONTIERS[0]).rows
    named = [row[0] for row in rows]
    assert named == ["native", "osxfs, 130 us:", *RAKE.arms[1:9], "VirtioFS:", *RAKE.arms[9:]]
    assert cells(rows, "native")[1] == "native"
    assert cells(rows, "lifetime-10s")[1] == "beaten"
    assert cells(rows, "osxfs-negative")[1] == "yes"
    # Slower than negative, and no stale answer was seen of either.
    assert cells(rows, "osxfs")[1] == "open"
    assert cells(rows, "osxfs")[4:6] == ("9,000", "0 ≤ 0.6")


def test_the_best_of_each_case_and_group_at_each_limit() -> None:
    rows = best_table(FRONTIERS).rows
    assert [row[:3] for row in rows[:4]] == [
        ("rake", "osxfs, 130 us", "none seen"),
        ("", "", "all below 100 ms"),
        ("", "", "no limit"),
        ("", "VirtioFS", "none seen"),
    ]
    assert rows[0][3] == "osxfs-negative"
    assert rows[2][3] == "osxfs-complete"
    # None of 45,000 is not none.
    assert rows[0][5:] == ("0 of 45,000", "≤ 0.0067 %", "")
    assert f"{100 * upper_bound_of_none(45_000):.2g}" == "0.0067"
    assert rows[3][3] == "nobody"
    assert rows[3][4] == "nearest: docker-vz"
    assert len(rows) == 12


def test_what_the_columns_mean_is_said_once_in_a_document() -> None:
    told = frontier_markdown(FRONTIERS)
    assert told.count("Pareto: yes") == 1
    assert told.count("fastest arm of each group") == 1
    assert told.count("**rake (mid): 5 runs of each arm, host edits vim**") == 1
    assert "| osxfs-cached |" in told


def test_the_terminal_shows_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    frontier_report(FRONTIERS[:1], "this machine")
    told = capsys.readouterr().out
    for arm in RAKE.arms:
        assert f"\n {arm} " in told
    assert "…" not in told  # at the width of what is piped
    assert "this machine" in told


def test_runs_with_another_result_are_told_beside_the_arm() -> None:
    changed = Sample("osxfs", 5, "fresh", 53.0, 0.1, risk=risk(result="changed"))
    failed = Sample("osxfs", 6, "fresh", 1.0, 0.1, "exit code 1", risk=risk(result="failed"))
    rows = points_table(frontier_of(with_samples(changed, failed), resamples=50)).rows
    assert "osxfs (1 failed, 1 changed)" in [row[0] for row in rows]


def with_samples(*samples: Sample) -> Comparison:
    return replace(RAKE, samples=[*RAKE.samples, *samples])


def test_a_stale_answer_without_a_share_is_the_judges_error_and_said() -> None:
    wrong = with_samples(Sample("native", 5, "fresh", 1.4, 0.1, risk=risk({"content": [MS]})))
    (line,) = caveats(frontier_of(wrong, resamples=50))
    assert line.startswith("1 answers were judged stale without a share (native)")
    assert caveats(FRONTIERS[0]) == []


def test_failures_few_runs_and_much_that_is_unknown_are_said() -> None:
    failed = with_samples(Sample("osxfs", 5, "fresh", 1.0, 0.1, "exit code 1: no"))
    assert "osxfs: exit code 1: no" in caveats(frontier_of(failed, resamples=50))
    few = frontier_of(comparison(runs=3), resamples=50)
    assert "fewer than 5 runs" in caveats(few)[0]
    assert best_table([few]).rows[0][7] == "?"
    unknown = risk()
    unknown["answers"] |= {"unknown": 9_000, "recorded": 18_000}
    vague = replace(
        RAKE,
        samples=[replace(one, risk=unknown) if one.arm == "osxfs" else one for one in RAKE.samples],
    )
    assert caveats(frontier_of(vague, resamples=50)) == [
        "osxfs: 50 % of its answers could not be judged"
    ]


def test_a_comparison_without_edits_is_shown_and_has_no_place() -> None:
    unwatched = replace(RAKE, samples=[replace(one, risk=None) for one in RAKE.samples])
    found = frontier_of(unwatched, resamples=50)
    assert "no host edits" in found.title
    assert "they have no place" in caveats(found)[0]
    assert "no place: osxfs" in texts(drawn([found]))


# The picture


def drawn(frontiers: list[Frontier], style: Style | None = None) -> bytes:
    style = style or Style()
    return render(frontier_picture(frontiers, style), style, "svg")


def texts(svg: bytes) -> str:
    return "\n".join("".join(node.itertext()) for node in ElementTree.fromstring(svg).iter())


@pytest.mark.takes_seconds
@pytest.mark.parametrize("style", [Style(), Style(DARK)], ids=["light", "dark"])
def test_every_arm_of_every_case_has_its_label(style: Style) -> None:
    svg = drawn(FRONTIERS, style)
    assert svg == drawn(FRONTIERS, style)  # always the same bytes
    lines = texts(svg).splitlines()
    for arm in RAKE.arms[1:]:
        assert lines.count(arm) >= 2, arm  # a panel each
    for words in ("native 1.4", "none\nseen", "osxfs, 130 us", "on the frontier", "wall time"):
        assert words.splitlines()[0] in texts(svg)
    assert style.theme.paper.encode() in svg


def test_where_every_arm_had_stale_answers_there_is_no_lane() -> None:
    stale = replace(
        RAKE,
        samples=[replace(one, risk=risk({"content": [MS] * 3})) for one in RAKE.samples],
    )
    svg = drawn([frontier_of(stale, resamples=50)])
    assert "seen" not in texts(svg).splitlines()
    assert "osxfs-cached" in texts(svg)


@pytest.mark.parametrize("runs", [0, 1])
def test_a_frontier_that_has_hardly_begun_is_drawn(runs: int) -> None:
    ElementTree.fromstring(drawn([frontier_of(comparison(runs=runs), resamples=50)]))
