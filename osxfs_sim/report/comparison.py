"""A comparison on a terminal: a line per arm, and what to know before believing it."""

from collections.abc import Sequence

from rich.padding import Padding

from osxfs_sim.lab.false_alarms import FalseAlarms
from osxfs_sim.lab.judgement import named
from osxfs_sim.lab.results import Comparison
from osxfs_sim.lab.statistics import SIGNIFICANCE
from osxfs_sim.lab.summary import (
    BASELINE_VERDICT,
    FASTER,
    NO_DIFFERENCE,
    UNKNOWN,
    ArmSummary,
    kinds_of,
)
from osxfs_sim.model.formatting import (
    decimals_for,
    format_bounds,
    format_count,
    format_duration,
    format_fixed,
    format_p_value,
    format_percent,
    format_plain,
    format_seconds,
    format_significant,
    format_time_with_interval,
)
from osxfs_sim.report.console import console, escape
from osxfs_sim.report.risk import risk_report, risks_of
from osxfs_sim.report.tables import Table, bold, table

LIMITS = (
    "An interval says how far the median would move if the runs were drawn again, on this machine "
    "and under its load then: not what another machine, day or tree would give. ~ is no difference "
    "detected, which is not a proof that there is none: its interval says how large one could be."
)
_LEGEND = (
    "[ ]: 95% bootstrap interval; ?: too few runs to tell; p: Mann-Whitney, corrected (Holm); "
    "server: the emulator's own processor time, taken from the same cores; target, observed: "
    "median of metadata requests, or of the class named, where that was waited for longer, ! "
    "where a run was out of tolerance."
)


def comparison_report(
    comparison: Comparison,
    summaries: Sequence[ArmSummary],
    machine: str,
    alarms: Sequence[tuple[str, FalseAlarms]] = (),
) -> None:
    """Print a table of arms per kind of run, with verdicts, warnings and A/A *alarms*."""
    out = console()
    for kind in kinds_of(comparison):
        of_kind = [summary for summary in summaries if summary.kind == kind]
        out.print(escape(_title(comparison, kind)), style="italic")
        out.print(_table(comparison, of_kind))
    risk_report(out, risks_of(comparison))
    for warning, names in _by_warning(summaries).items():
        line = f"[yellow]{escape('; '.join(names))}: {escape(warning)}[/yellow]"
        out.print(Padding(line, (0, 0, 0, 2)))
    for kind, found in alarms:
        out.print(Padding(escape(f"A/A, {kind}: {alarm_line(found)}"), (1, 0, 1, 2)))
    out.print(Padding(escape(_LEGEND), (0, 0, 0, 2)))
    out.print(Padding(escape(LIMITS), (0, 0, 0, 2)))
    out.print(Padding(escape(machine), (0, 0, 0, 2)), style="dim")


def _by_warning(summaries: Sequence[ArmSummary]) -> dict[str, list[str]]:
    """Each warning once, with all that it is about."""
    names: dict[str, list[str]] = {}
    for summary in summaries:
        name = summary.label if summary.kind == "fresh" else f"{summary.label}, {summary.kind}"
        for warning in summary.warnings:
            names.setdefault(warning, []).append(name)
    return names


def _table(comparison: Comparison, summaries: Sequence[ArmSummary]) -> Table:
    rows = table(
        "arm",
        ">runs",
        ">median",
        f">/ {_shortened(comparison.baseline)}",
        ">p",
        ">server",
        ">target",
        ">observed",
        ">late",
    )
    for summary in summaries:
        rows.add_row(bold(summary.label), *_cells(summary))
    return rows


def _title(comparison: Comparison, kind: str) -> str:
    what = "quick: a shortened command" if comparison.quick else "the whole command"
    options = "".join(f", with {name}" for name in comparison.options)
    dilated = (
        f", time dilated {format_plain(comparison.dilate)} times" if comparison.dilate != 1 else ""
    )
    mount = {"fresh": "fresh mounts", "again": "again on the same mount"}.get(kind, kind)
    return (
        f"{comparison.title} ({comparison.variant}{options}; {what}; {mount}, "
        f"{comparison.caches} host caches{dilated})"
    )


def _shortened(label: str, most: int = 12) -> str:
    return label if len(label) <= most else "baseline"


def _cells(summary: ArmSummary) -> list[str]:
    achieved = _latency(summary.observed_p50_ns)
    return [
        f"{summary.runs}" + (f" ({summary.failed} failed)" if summary.failed else ""),
        format_time_with_interval(summary.median_s, summary.interval_s),
        _ratio(summary),
        "" if summary.p is None else format_p_value(summary.p),
        "" if summary.server_processor_s is None else format_seconds(summary.server_processor_s, 2),
        named(summary.judged_class, _latency(summary.target_p50_ns)),
        achieved + ("!" if summary.within_tolerance is False else ""),
        "" if summary.late_share is None else format_percent(summary.late_share, 1),
    ]


def _ratio(summary: ArmSummary) -> str:
    if summary.verdict == BASELINE_VERDICT:
        return "1"
    if summary.ratio is None:
        return ""
    interval = summary.ratio_interval
    width = summary.ratio / 10 if interval is None else interval[1] - interval[0]
    digits = decimals_for(width, value=summary.ratio)
    value = format_fixed(summary.ratio, digits)
    if summary.verdict == NO_DIFFERENCE:
        value = NO_DIFFERENCE
    if summary.verdict == UNKNOWN:
        value += "?"
    if interval is None:
        return value
    return f"{value} {format_bounds(*interval, digits)}"


def _latency(value_ns: int | None) -> str:
    return "" if value_ns is None else format_duration(value_ns)


def alarm_line(found: FalseAlarms) -> str:
    """Say in two sentences how often an arm against itself was found to differ."""
    low, high = found.interval
    verdict = "a false alarm" if found.p < SIGNIFICANCE else "no difference detected"
    return (
        f"{found.rounds} rounds of an arm against itself: {verdict} "
        f"(p = {format_p_value(found.p)}). Labelled anew within its rounds "
        f"{format_count(found.relabellings)} times, it cries wolf in "
        f"{format_percent(found.rate, 1)} (95% interval {format_fixed(100 * low, 1)} to "
        f"{format_percent(high, 1)}; by design at most about {format_percent(SIGNIFICANCE, 0)}). "
        "Not interleaved, the first half of the rounds against the second: "
        f"p = {format_p_value(found.p_in_order)}."
    )


def verdict_words(summary: ArmSummary) -> str:
    """A phrase of how *summary*'s arm stands to the baseline: ``2.1 times slower``, say."""
    if summary.verdict == BASELINE_VERDICT:
        return "the baseline"
    if summary.verdict == NO_DIFFERENCE:
        return "no difference detected"
    if summary.verdict == UNKNOWN or summary.ratio is None:
        return "too few runs"
    times = 1 / summary.ratio if summary.verdict == FASTER else summary.ratio
    return f"{format_significant(times, 3)} times {summary.verdict}"
