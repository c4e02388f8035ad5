"""The table of a comparison and what is derived for it, from samples written by hand."""

import re
from typing import Any

import pytest

from osxfs_sim.lab.false_alarms import FalseAlarms
from osxfs_sim.lab.results import Comparison, Sample
from osxfs_sim.lab.summary import (
    BASELINE_VERDICT,
    FASTER,
    NO_DIFFERENCE,
    SLOWER,
    UNKNOWN,
    ArmSummary,
    summarize,
)
from osxfs_sim.model.formatting import format_p_value, format_time_with_interval
from osxfs_sim.report.comparison import (
    comparison_report,
    verdict_words,
)

TEN = [1.0, 1.02, 0.98, 1.01, 0.99, 1.03, 0.97, 1.04, 0.96, 1.005]


def receipt(
    *, achieved_ns: int = 131_000, late: int = 1, within: bool | None = True
) -> dict[str, Any]:
    return {
        "metadata": {
            "count": 1_000,
            "target_p50_ns": 130_000,
            "observed_p50_ns": achieved_ns,
            "late": late,
            "within_tolerance": within,
        }
    }


def share(**of_receipt: Any) -> dict[str, Any]:
    return {"server_processor_s": 0.5, "receipt": receipt(**of_receipt)}


def comparison(*samples: list[Sample], **others: Any) -> Comparison:
    arms = list(dict.fromkeys(sample.arm for group in samples for sample in group))
    values: dict[str, Any] = {
        "case": "note",
        "title": "Write a [word]",
        "variant": "default",
        "quick": False,
        "options": [],
        "arms": arms,
        "baseline": arms[0],
        "caches": "warm",
        "seed": 7,
        "dilate": 1.0,
        "started": "2026-01-01T00:00:00+00:00",
        "machine": {},
        "samples": [sample for group in samples for sample in group],
    }
    return Comparison(**values | others)


def arm(
    label: str,
    walls_s: list[float],
    status: dict[str, Any] | None = None,
    *,
    kind: str = "fresh",
) -> list[Sample]:
    late_s = None if status is None else 0.25
    return [
        Sample(label, number, kind, wall_s, 0.1, drain_s=late_s, share=status)
        for number, wall_s in enumerate(walls_s)
    ]


def times(factor: float) -> list[float]:
    """Ten wall times, in an order that does not rise or fall."""
    return [factor * wall_s for wall_s in TEN]


def summary_of(made: Comparison, label: str, kind: str = "fresh") -> ArmSummary:
    return next(
        each for each in summarize(made, resamples=500) if (each.label, each.kind) == (label, kind)
    )


def printed(capsys: pytest.CaptureFixture[str], made: Comparison, **others: Any) -> list[str]:
    comparison_report(made, summarize(made, resamples=500), "a machine", **others)
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 120 for line in lines)
    assert not any("…" in line for line in lines)
    return lines


# What is derived


def test_arms_are_faster_slower_or_not_told_apart() -> None:
    made = comparison(
        arm("native", times(1)),
        arm("osxfs", times(3), share()),
        arm("quick", times(0.5), share()),
        arm("same", times(1.0001), share()),
    )
    verdicts = {each.label: each.verdict for each in summarize(made, resamples=500)}
    assert verdicts == {
        "native": BASELINE_VERDICT,
        "osxfs": SLOWER,
        "quick": FASTER,
        "same": NO_DIFFERENCE,
    }
    slower = summary_of(made, "osxfs")
    assert slower.ratio == pytest.approx(3)
    assert slower.ratio_interval is not None
    assert slower.ratio_interval[0] < 3 < slower.ratio_interval[1]
    assert slower.p is not None
    assert slower.p < 0.001
    assert (slower.server_processor_s, slower.drain_s) == (0.5, 0.25)
    assert (slower.target_p50_ns, slower.observed_p50_ns) == (130_000, 131_000)
    assert (slower.late_share, slower.within_tolerance) == (0.001, True)
    assert slower.warnings == ()
    assert verdict_words(slower) == "3 times slower"
    assert verdict_words(summary_of(made, "quick")) == "2 times faster"
    assert verdict_words(summary_of(made, "same")) == "no difference detected"
    native = summary_of(made, "native")
    assert (native.ratio, native.p, native.server_processor_s) == (None, None, None)
    assert (native.late_share, native.within_tolerance) == (None, None)


def test_the_more_arms_are_compared_the_more_it_takes() -> None:
    made = comparison(arm("native", times(1)), arm("a", times(1.025)))
    alone = summary_of(made, "a").p
    others = [arm(f"other {n}", times(1 + n / 10_000)) for n in range(3)]
    made = comparison(arm("native", times(1)), arm("a", times(1.025)), *others)
    among = summary_of(made, "a").p
    assert alone is not None
    assert among == pytest.approx(4 * alone)


def test_the_same_samples_give_the_same_summary() -> None:
    made = comparison(arm("native", times(1)), arm("osxfs", times(3), share()))
    assert summarize(made, resamples=300) == summarize(made, resamples=300)


def test_few_runs_give_no_interval_and_no_verdict_and_say_so() -> None:
    made = comparison(arm("native", [1.0, 1.1, 1.2]), arm("osxfs", [9.0, 9.1, 9.2], share()))
    few = summary_of(made, "osxfs")
    assert (few.interval_s, few.ratio_interval, few.verdict) == (None, None, UNKNOWN)
    assert few.ratio == pytest.approx(9.1 / 1.1)
    assert few.warnings == (
        "no interval can be given for 3 runs: it takes 5",
        "too few runs to tell it from the baseline: however far apart they are, p is at least 0.1",
    )
    assert verdict_words(few) == "too few runs"


def test_failed_runs_are_counted_apart_and_never_among_the_times() -> None:
    broken = arm("osxfs", times(3), share())
    for sample in broken[:2]:
        sample.wall_s, sample.failure = 0.001, "exit code 3: broken"
    summary = summary_of(comparison(arm("native", times(1)), broken), "osxfs")
    assert (summary.runs, summary.failed) == (8, 2)
    assert summary.median_s is not None
    assert summary.median_s > 2.5
    assert summary.warnings[0] == "2 of 10 runs failed, not counted: exit code 3: broken"


def test_an_arm_of_which_no_run_counts_has_no_time_and_others_have_theirs() -> None:
    broken = arm("osxfs", times(3), share())
    for sample in broken:
        sample.failure = "exit code 3: "
    made = comparison(arm("native", times(1)), broken, arm("host", times(2), share()))
    summary = summary_of(made, "osxfs")
    assert (summary.runs, summary.median_s, summary.ratio, summary.p) == (0, None, None, None)
    assert summary.verdict == UNKNOWN
    assert summary_of(made, "host").verdict == SLOWER
    made = comparison(broken, arm("host", times(2), share()))
    assert summary_of(made, "host").ratio is None


def test_a_run_out_of_tolerance_is_marked_unless_it_is_of_a_class_that_hardly_occurs() -> None:
    samples = arm("osxfs", times(3), share())
    samples[0].share = share(achieved_ns=180_000, late=900, within=False)
    summary = summary_of(comparison(arm("native", times(1)), samples), "osxfs")
    assert summary.within_tolerance is False
    assert summary.warnings == (
        "out of tolerance in 1 of 10 runs: metadata, asked for 130us, achieved 180us, 90.0% late",
    )
    rare = share()
    rare["receipt"]["sync"] = receipt(within=False)["metadata"] | {"count": 5}
    samples = arm("osxfs", times(3), rare)
    assert summary_of(comparison(arm("native", times(1)), samples), "osxfs").within_tolerance


def test_outliers_and_drift_are_warned_about() -> None:
    disturbed = [*times(3)[:9], 30.0]
    rising = [1 + number / 10 for number in range(10)]
    made = comparison(arm("native", times(1)), arm("a", disturbed), arm("b", rising))
    assert summary_of(made, "a").warnings == ("an outlier, counted all the same: 30 s in round 10",)
    (warning,) = summary_of(made, "b").warnings
    assert warning.startswith("it became slower from run to run (Kendall's tau +1.00, p = ")


def test_what_the_share_itself_warns_of_is_passed_on() -> None:
    made = comparison(
        arm("native", times(1)),
        arm("osxfs", times(3), share()),
        mounted={"osxfs": {"warnings": ["this machine wakes late"]}},
    )
    assert summary_of(made, "osxfs").warnings == ("the share warns: this machine wakes late",)


# What is printed


def test_the_table_has_a_line_per_arm_and_says_what_it_cannot_show(
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = comparison(
        arm("native", times(1)),
        arm("osxfs --latency 65us", times(3), share(within=False)),
        arm("same", times(1.0001), share()),
    )
    lines = printed(capsys, made)
    assert lines[0].startswith("Write a [word] (default; the whole command; fresh mounts, warm")
    rows = {line.split("  ")[0].strip(): line for line in lines if line.startswith(" ")}
    assert "1.00" in rows["native"]
    assert "3.0" in rows["osxfs --latency 65us"]
    assert "131us!" in rows["osxfs --latency 65us"]
    assert "131us " in rows["same"]
    assert "~ [" in rows["same"]
    said = " ".join(" ".join(lines).split())
    assert "osxfs --latency 65us: out of tolerance in 10 of 10 runs: metadata" in said
    assert "not a proof that there is none" in said
    assert "a machine" in lines[-1]


def test_second_runs_have_a_table_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    both = [*arm("osxfs", times(3), share()), *arm("osxfs", [2.0], share(), kind="again")]
    lines = printed(capsys, comparison(arm("native", times(1)), both))
    titles = [line for line in lines if line.startswith("Write a [word]")]
    assert ["fresh mounts" in title for title in titles] == [True, False]
    assert "again on the same mount" in titles[1]
    assert any("osxfs, again: no interval can be given for 1 run:" in line for line in lines)
    assert any("none counts" in line for line in lines)  # native has no second runs


def test_a_warning_about_several_arms_is_printed_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = printed(capsys, comparison(arm("native", [1.0, 1.1]), arm("osxfs", [2.0, 2.1])))
    few = [line.strip() for line in lines if "no interval can be given" in line]
    assert few == ["native; osxfs: no interval can be given for 2 runs: it takes 5"]


def test_failures_few_runs_and_long_labels_have_their_place(
    capsys: pytest.CaptureFixture[str],
) -> None:
    label = (
        "osxfs-cached --latency 65us --cache-timeout 1s --negative-timeout 500ms --bandwidth 1GB/s"
    )
    broken = arm(label, times(3)[:4], share())
    broken[0].failure = "exit code 3: [broken]"
    made = comparison(arm("osxfs-delegated-kernel", times(1)[:3]), broken)
    lines = printed(capsys, made)
    assert any("3 (1 failed)" in line for line in lines)
    assert any("/ baseline" in line for line in lines)
    assert any(re.search(r"[0-9]\? ", line) for line in lines)
    assert "exit code 3: [broken]" in " ".join(" ".join(lines).split())


def test_an_arm_against_itself_publishes_how_often_it_cries_wolf(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = FalseAlarms(10, 0.43, 2_000, 80, (0.032, 0.05), 0.6)
    lines = printed(
        *(capsys, comparison(arm("a", times(1)), arm("b", times(1)))), alarms=[("fresh", found)]
    )
    said = " ".join(" ".join(lines).split())
    assert "A/A, fresh: 10 rounds of an arm against itself: no difference detected" in said
    assert "it cries wolf in 4.0% (95% interval 3.2 to 5.0%" in said
    found = FalseAlarms(10, 0.01, 2_000, 80, (0.032, 0.05), 0.6)
    lines = printed(
        *(capsys, comparison(arm("a", times(1)), arm("b", times(1)))), alarms=[("fresh", found)]
    )
    assert "a false alarm (p = 0.01)" in " ".join(" ".join(lines).split())


@pytest.mark.parametrize(
    ("median_s", "interval_s", "shown"),
    [
        (12.3456, (12.3, 12.41), "12.35 s [12.30, 12.41]"),
        (12.3456, (10.1, 19.7), "12.3 s [10.1, 19.7]"),
        (123.456, (100.1, 160.7), "123 s [100, 161]"),
        (0.012345, (0.0121, 0.0126), "12.35 ms [12.10, 12.60]"),
        (12.3456, (12.3456, 12.3456), "12.35 s [12.35, 12.35]"),
        (12.3456, None, "12.3 s"),
        (None, None, "none counts"),
    ],
)
def test_a_time_has_as_many_digits_as_its_interval_has_to_say(
    median_s: float | None, interval_s: tuple[float, float] | None, shown: str
) -> None:
    assert format_time_with_interval(median_s, interval_s) == shown


def test_a_p_value_has_no_more_digits_than_it_is_worth() -> None:
    shown = [format_p_value(p) for p in (1.0, 0.4321, 0.04321, 0.00043, 0.0000001)]
    assert shown == ["1.00", "0.43", "0.043", "0.00043", "<0.0001"]
