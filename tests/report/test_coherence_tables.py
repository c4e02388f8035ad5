"""The tables of the scorecard and of staleness, from results written by hand."""

from collections import Counter

import pytest

from osxfs_sim.coherence.expectations import Kind, expected_of
from osxfs_sim.coherence.judging import Score
from osxfs_sim.coherence.predictions import NotSeen, Outlook, Sample, Uniform, View, compare
from osxfs_sim.coherence.scorecard import KindResult
from osxfs_sim.coherence.staleness import ViewResult
from osxfs_sim.model.events import NotifySpec
from osxfs_sim.report.coherence import histogram, scorecard_report, staleness_report

MS = 10**6


def score(**wrong: Counter) -> Score:
    parts = {"missing": Counter(), "duplicates": Counter(), "unexpected": Counter()}
    return Score(10, 19, early=Counter(), delays_ns=(MS, 2 * MS, 9 * MS), **(parts | wrong))


def test_a_scorecard_says_what_was_wrong_with_what(capsys: pytest.CaptureFixture[str]) -> None:
    rename = score(missing=Counter({"IN_MODIFY b": 1}), duplicates=Counter({"IN_DELETE a": 4}))
    results = [
        KindResult(Kind.RENAME, expected_of(Kind.RENAME, NotifySpec()), rename),
        KindResult(Kind.RMDIR, expected_of(Kind.RMDIR, NotifySpec()), score()),
        KindResult(Kind.READ, expected_of(Kind.READ, NotifySpec()), score()),
    ]
    scorecard_report(results, "a title", "a machine")
    said = capsys.readouterr().out
    row = next(line for line in said.splitlines() if line.startswith(" rename"))
    assert row.split() == [
        *("rename", "19", "of", "20", "1", "4", "2ms", "9ms", "9ms"),
        *("DELETE", "a,", "MODIFY", "b"),
    ]
    assert "rename: missing: IN_MODIFY b, 1 times" in said
    assert "DELETE a/, DELETE_SELF a" in said
    assert "nothing" in said
    assert all(len(line) <= 120 for line in said.splitlines())


def test_staleness_that_was_not_seen_is_in_no_quantile(capsys: pytest.CaptureFixture[str]) -> None:
    seen = tuple(Sample(0, 3, each * MS - 5, each * MS, each * MS + 5) for each in (1, 2, 3))
    unseen = (Sample(0, 9, 2_000 * MS),)
    prediction = Uniform(0, 4 * MS)
    results = [
        ViewResult(
            View.CONTENT,
            Outlook(prediction, 4 * MS, 2_000 * MS),
            seen + unseen,
            compare(prediction, seen + unseen),
        ),
        ViewResult(
            View.MAPPING,
            Outlook(NotSeen("nobody asks"), 0, 2_000 * MS),
            unseen,
            compare(NotSeen(""), unseen),
        ),
        ViewResult(View.HANDLE, Outlook(None, 0, 2_000 * MS), seen, None),
    ]
    staleness_report(results, "a title", "a machine")
    said = capsys.readouterr().out
    assert "uniform, 0 to 4ms" in said
    assert "1 in 2s" in said
    content = next(line for line in said.splitlines() if line.startswith(" content"))
    assert "2ms" in content
    assert "2s " not in content.replace("1 in 2s", "")
    assert "agrees: 0/1 seen" in said
    assert all(len(line) <= 120 for line in said.splitlines())


def test_a_histogram_shows_where_samples_lie() -> None:
    assert histogram([], 4) == ""
    assert histogram([0, 0], 4) == ""
    assert histogram([1, 100], 4) == "█  █"
    assert histogram([*[10] * 100, 40], 4) == " █ ▁"
