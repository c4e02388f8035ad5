"""The tables of a case study and its trade-offs, from results written by hand."""

from dataclasses import dataclass
from typing import Any

import pytest
from support.benches import comparison_of

from osxfs_sim.lab.results import Comparison, Sample
from osxfs_sim.report.runs import runs_report
from osxfs_sim.report.trade_off import trade_offs

WRITE_BACK = {
    "kernel": False,
    "made": 1_940,
    "merged": 500,
    "cancelled": 1_100,
    "crossed": 340,
    "bytes_written_back": 1_250_000,
    "longest_lag_ns": 4_800_000_000,
    "most_changes_at_risk": 1_234,
    "most_bytes_at_risk": 5_600_000,
    "lost_host_changes": 0,
}
AT_ONCE = "nothing at risk: every change was on the host when it was acknowledged"
STALE = "answers could be stale until the host's event arrived (window 10ms)"


def status(policy: str = "consistent: nothing cached", **others: Any) -> dict[str, Any]:
    return {
        "policy": policy,
        "events": {"latency_ns": 10_000_000},
        "server_processor_s": 1.5,
        "requests": {"WRITE": 900, "LOOKUP": 60, "CREATE": 40},
        "missing_lookups": 20,
        "receipt": {},
        "write_back": None,
    } | others


def believing(**others: Any) -> dict[str, Any]:
    return status("cached: entries, attributes and pages for 86400s", **others)


@dataclass
class ArmRuns:
    """An arm with its runs, of which a comparison is put together."""

    name: str
    runs: list[Sample]
    is_mounted: bool


def arm(name: str, share: dict[str, Any] | None, *walls_s: float) -> ArmRuns:
    kinds = ["fresh", *["again"] * len(walls_s)]
    late_s = None if share is None else 2.5 if share["write_back"] else 0.0
    runs = [
        Sample(name, number, kind, wall_s, 1.0, drain_s=late_s, share=share)
        for number, (kind, wall_s) in enumerate(zip(kinds, walls_s, strict=False))
    ]
    return ArmRuns(name, runs, share is not None)


def together(*arms: ArmRuns) -> Comparison:
    return comparison_of(
        [each.name for each in arms],
        mounted={each.name: {"warnings": []} for each in arms if each.is_mounted},
        samples=[sample for each in arms for sample in each.runs],
    )


def said_of(*arms: ArmRuns) -> list[str]:
    return trade_offs(together(*arms))


def printed(capsys: pytest.CaptureFixture[str], *arms: ArmRuns) -> list[str]:
    runs_report(together(*arms), "a machine")
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 120 for line in lines)
    assert not any("…" in line for line in lines)
    return lines


def row(lines: list[str], table: str, name: str) -> list[str]:
    """The words of the first line of *name* in the table that begins with the word *table*."""
    start = next(n for n, line in enumerate(lines) if line.split()[:1] == [table])
    return next(line.split() for line in lines[start:] if line.split()[:1] == [name])


def test_what_a_share_held_back_has_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    delegated = arm("osxfs-delegated-kernel", believing(write_back=WRITE_BACK), 3.0, 2.0)
    lines = printed(capsys, arm("osxfs", status(), 9.3, 9.0), delegated)
    assert row(lines, "write-back", "osxfs-delegated-kernel") == [
        *("osxfs-delegated-kernel", "fresh", "1,940", "500", "1,100", "340", "1.25MB", "4.8s"),
        *("1,234,", "5.6MB", "2.50", "s"),
    ]
    assert sum(line.startswith(" osxfs-delegated-kernel") for line in lines) == 2 * 3
    said = " ".join(line.strip() for line in lines)
    assert "undone: cancelled out before they had crossed" in said


def test_large_numbers_are_not_cut(capsys: pytest.CaptureFixture[str]) -> None:
    large = WRITE_BACK | {
        "made": 318_401,
        "merged": 102_300,
        "cancelled": 117_753,
        "crossed": 116_384,
        "longest_lag_ns": 123_400_000_000,
        "most_changes_at_risk": 16_384,
        "most_bytes_at_risk": 134_000_000,
    }
    delegated = arm("osxfs-delegated-kernel", believing(write_back=large), 300.0, 299.0)
    delegated.runs[0].drain_s = 135.5
    printed(capsys, arm("osxfs", status(), 900.0, 900.0), delegated)


def test_shares_that_hold_nothing_back_have_no_such_table(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = printed(capsys, arm("native", None, 0.3), arm("osxfs", status(), 9.0))
    assert not any("write-back" in line for line in lines)
    assert any(line.strip() == "trade-off" for line in lines)


def test_the_most_frequent_requests_are_shown_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    many = {"READ": 1, "OPEN": 2, "WRITE": 70, "LOOKUP": 20, "FLUSH": 4, "CREATE": 3, "MKDIR": 5}
    lines = printed(capsys, arm("osxfs", status(requests=many), 9.0))
    assert row(lines, "requests", "requests") == [
        *("requests", "run", "all", "missing", "each"),
        *("WRITE", "LOOKUP", "MKDIR", "FLUSH", "CREATE", "others"),
    ]
    assert row(lines, "requests", "osxfs") == [
        *("osxfs", "fresh", "105", "20", "5.2", "70", "20", "5", "4", "3", "3")
    ]


def test_every_arm_has_a_line_on_what_it_gained_and_what_that_put_at_risk() -> None:
    results = [
        arm("native", None, 0.3, 0.3),
        arm("osxfs", status(), 9.3, 9.0),
        arm("osxfs-cached", believing(), 9.2, 6.0),
        arm("osxfs-delegated", believing(write_back=WRITE_BACK), 3.0, 2.0),
    ]
    assert said_of(*results) == [
        "native: 31.0 times faster than osxfs (again: 30.0 times faster); "
        "no share: guest and host are one, and nothing is at risk",
        f"osxfs: the baseline; {AT_ONCE}",
        f"osxfs-cached: as fast as osxfs (again: 1.5 times faster); {AT_ONCE}; {STALE}",
        "osxfs-delegated: 3.1 times faster than osxfs (again: 4.5 times faster); "
        "the host lagged up to 4.8s behind, and at the worst moment 1,234 changes (5.6MB) were "
        f"only in the guest; the host had everything 2.5s after the end; {STALE}",
    ]


def test_a_loss_is_said_as_well_as_a_gain() -> None:
    results = [arm("osxfs", status(), 2.0), arm("mine", believing(events=None), 5.0)]
    assert said_of(*results)[1] == (
        f"mine: 2.5 times slower than osxfs; {AT_ONCE}; answers could be stale until their "
        "cache timeout: no event of the host's invalidates them"
    )


def test_without_the_baseline_no_gain_is_claimed() -> None:
    assert said_of(arm("osxfs-cached", believing(), 1.0)) == [f"osxfs-cached: {AT_ONCE}; {STALE}"]


def test_the_risk_is_that_of_the_worst_run() -> None:
    result = arm("mine", status(write_back=WRITE_BACK), 3.0, 2.0)
    worse = WRITE_BACK | {"most_changes_at_risk": 5_000, "longest_lag_ns": 7_000_000_000}
    result.runs[1].share = status(write_back=worse)
    result.runs[1].drain_s = 0.5
    (line,) = said_of(result)
    assert "lagged up to 7s behind, and at the worst moment 5,000 changes (5.6MB)" in line
    assert line.endswith("the host had everything 2.5s after the end")


def test_what_is_lost_or_held_elsewhere_is_said() -> None:
    held = WRITE_BACK | {"kernel": True, "lost_host_changes": 1_001}
    (line,) = said_of(arm("mine", status(write_back=held), 3.0))
    assert "what its kernel held besides is not counted" in line
    assert "1,001 changes that the host made meanwhile are lost" in line


def test_a_baseline_that_failed_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    failed = arm("osxfs", status(), 0.1)
    failed.runs[0].failure = "exit code 1: "
    results = [failed, arm("mine", status(), 3.0)]
    assert said_of(*results) == [f"osxfs: no run counts; {AT_ONCE}", f"mine: {AT_ONCE}"]
    assert row(printed(capsys, *results), "arm", "mine") == [
        "mine",
        "fresh",
        "3.00",
        "s",
        "1.50",
        "s",
    ]


def test_a_share_that_may_hold_back_and_had_nothing_to_says_so() -> None:
    idle = WRITE_BACK | {"made": 0, "most_changes_at_risk": 0, "most_bytes_at_risk": 0}
    (line,) = said_of(arm("mine", status(write_back=idle), 3.0))
    assert line == "mine: nothing was held back"


def test_a_failed_run_gains_nothing_and_its_risk_is_told_all_the_same(
    capsys: pytest.CaptureFixture[str],
) -> None:
    failed = arm("osxfs-delegated", believing(write_back=WRITE_BACK), 0.1)
    failed.runs[0].failure = "the host did not get everything: disk full"
    failed.runs[0].drain_s = None
    results = [arm("osxfs", status(), 9.0), failed]
    line = said_of(*results)[1]
    assert line.startswith("osxfs-delegated: no run counts; the host lagged up to 4.8s behind")
    assert "the host did not get everything" in line
    assert "after the end" not in line
    lines = printed(capsys, *results)
    assert row(lines, "write-back", "osxfs-delegated")[-1] == "never"
    assert "osxfs-delegated, fresh: the host did not get everything: disk full" in lines
    assert row(lines, "arm", "osxfs-delegated")[2] == "failed"
