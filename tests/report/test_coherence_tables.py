"""The tables of the scorecard and of staleness, from results written by hand."""

from collections import Counter

import pytest

from osxfs_sim.coherence.scorecard.expectations import ChangeKind, expected_of
from osxfs_sim.coherence.scorecard.judging import Score
from osxfs_sim.coherence.scorecard.measure import KindResult
from osxfs_sim.coherence.staleness.measure import ViewResult
from osxfs_sim.coherence.staleness.predictions import (
    AtOnce,
    Direction,
    Mixture,
    NotSeen,
    Outlook,
    StalenessSample,
    Uniform,
    View,
    Within,
    compare,
)
from osxfs_sim.model.events import NotifySpec
from osxfs_sim.report.coherence import (
    curves_report,
    histogram,
    scorecard_report,
    staleness_report,
)

MS = 10**6


def score(**wrong: Counter) -> Score:
    parts = {"missing": Counter(), "duplicates": Counter(), "unexpected": Counter()}
    return Score(10, 19, early=Counter(), delays_ns=(MS, 2 * MS, 9 * MS), **(parts | wrong))


def test_a_scorecard_says_what_was_wrong_with_what(capsys: pytest.CaptureFixture[str]) -> None:
    rename = score(missing=Counter({"IN_MODIFY b": 1}), duplicates=Counter({"IN_DELETE a": 4}))
    results = [
        KindResult(ChangeKind.RENAME, expected_of(ChangeKind.RENAME, NotifySpec()), rename),
        KindResult(ChangeKind.RMDIR, expected_of(ChangeKind.RMDIR, NotifySpec()), score()),
        KindResult(ChangeKind.READ, expected_of(ChangeKind.READ, NotifySpec()), score()),
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
    seen = tuple(
        StalenessSample(0, 3, each * MS - 5, each * MS, each * MS + 5) for each in (1, 2, 3)
    )
    unseen = (StalenessSample(0, 9, 2_000 * MS),)
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
            Outlook(NotSeen("no request"), 0, 2_000 * MS),
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
    assert "0/1 seen" in said
    assert all(len(line) <= 120 for line in said.splitlines())


def curves(
    capsys: pytest.CaptureFixture[str], outlook: Outlook, samples: list[StalenessSample]
) -> list[str]:
    """The words of the one line of that table."""
    result = ViewResult(View.CONTENT, outlook, tuple(samples), None, Direction.TO_HOST)
    curves_report([result], "a machine")
    said = capsys.readouterr().out
    assert all(len(line) <= 120 for line in said.splitlines())
    (row,) = (line for line in said.splitlines() if line.startswith(" content"))
    return row.split()


def spread(number: int) -> list[StalenessSample]:
    """As many as there are milliseconds."""
    return [StalenessSample(0, 1, k * MS, (k + 1) * MS, (k + 1) * MS) for k in range(number)]


def test_when_a_look_is_fresh_is_told_with_how_sure_that_is(capsys) -> None:
    # From the binomial distribution: of 400, half are 180 to 220, one in a hundred is 1 to 8.
    planned = Outlook(Uniform(0, 400 * MS), 400 * MS, 2_000 * MS)
    assert curves(capsys, planned, spread(400)) == [
        *("content", "the", "host", "201ms", "179ms", "to", "221ms"),
        *("397ms", "391ms", "to", "400ms", "met", "400"),
    ]


def test_few_samples_cannot_tell_when_nearly_all_looks_are_fresh(capsys) -> None:
    assert curves(capsys, Outlook(None, 0, 0), spread(20)) == [
        *("content", "the", "host", "11ms", "5ms", "to", "15ms"),
        *("20ms", "18ms", "to", "...", "20"),
    ]


def test_a_curve_that_leaves_its_prediction_is_told_with_the_moment(capsys) -> None:
    said = " ".join(curves(capsys, Outlook(AtOnce(), 0, 0), spread(50)))
    assert "left at 0us" in said
    assert "met" not in said


def test_that_no_loss_was_silent_is_told_where_it_can_be(capsys) -> None:
    silent = Mixture(((0.5, Within(10 * MS)), (0.5, NotSeen("lost"))))
    planned = Outlook(Within(10 * MS), 20 * MS, 0, silent)
    seen = [StalenessSample(0, 1, 0, k * MS // 10, k * MS // 10) for k in range(1, 90)]
    assert "met, no loss was silent" in " ".join(curves(capsys, planned, seen))
    few = " ".join(curves(capsys, planned, seen[:2]))
    assert "met" in few
    assert "silent" not in few


def test_a_histogram_shows_where_samples_lie() -> None:
    assert histogram([], 4) == ""
    assert histogram([0, 0], 4) == ""
    assert histogram([1, 100], 4) == "█  █"
    assert histogram([*[10] * 100, 40], 4) == " █ ▁"


def test_a_view_has_one_verdict_by_its_number_and_its_whole_curve(capsys) -> None:
    """Nine of ten within the bound is as many as it takes; the curve says that it is another."""
    planned = Outlook(Within(10 * MS), 20 * MS, 2_000 * MS)
    samples = tuple(StalenessSample(0, 1, 14 * MS, 15 * MS, 15 * MS) for _ in range(100))
    found = ViewResult(View.CONTENT, planned, samples, compare(planned.prediction, samples))
    assert found.comparison.agrees
    assert found.departs_ns is not None
    assert found.agrees is False
    staleness_report([found], "a title", "a machine")
    curves_report([found], "a machine")
    said = capsys.readouterr().out
    assert "differs" in said
    assert "agrees" not in said
