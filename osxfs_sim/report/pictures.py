"""Which plots a comparison has, and each one's finding in words and numbers."""

import binascii
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hdrh.histogram import HdrHistogram
from matplotlib.figure import Figure

from osxfs_sim.lab.results import Comparison, ResultError
from osxfs_sim.lab.summary import NO_DIFFERENCE, ArmSummary
from osxfs_sim.model.units import format_duration
from osxfs_sim.report import plots
from osxfs_sim.report.contents import Contents, TraceContents
from osxfs_sim.report.plots import Latencies, Style, WallTimes
from osxfs_sim.report.quantities import format_seconds, three_digits


@dataclass(frozen=True, slots=True)
class Plot:
    """One figure: *name* is for a file, *alt* says what a reader would find in it."""

    name: str
    title: str
    alt: str
    draw: Callable[[Style], Figure]


# So many points are enough for a curve; fewer make smaller pages.
_CURVE_POINTS = 160
_CURVE_STEP = 1.05


def plots_of(contents: Contents) -> list[Plot]:
    """The plots of a comparison: wall times, latencies, and those of its traces."""
    comparison, summaries = contents.comparison, contents.summaries
    made = [_wall_times(comparison, summaries)]
    arms = latencies_of(comparison)
    if arms:
        made.append(_latencies(arms))
    return made


def plots_of_traces(traces: Sequence[TraceContents]) -> list[Plot]:
    """Where the time went, a bar per trace; then each trace's requests over time."""
    if not traces:
        return []
    return [_attribution(traces), *(_over_time(trace) for trace in traces if timeline_of(trace))]


def _wall_times(comparison: Comparison, summaries: Sequence[ArmSummary]) -> Plot:
    groups: dict[str, list[WallTimes]] = {}
    said = []
    for each in summaries:
        samples = [sample.wall_s for sample in comparison.of(each.label, each.kind)]
        groups.setdefault(each.kind, []).append(
            WallTimes(each.label, samples, each.median_s, each.interval_s, each.failed)
        )
        said.append(_wall_time_in_words(each, len(samples)))
    return Plot(
        "wall-times",
        "Wall times: every run, medians and intervals",
        f"Wall time per arm, median. {'; '.join(said)}. The baseline is {comparison.baseline}.",
        lambda style: plots.wall_times(groups, comparison.baseline, style),
    )


def _wall_time_in_words(summary: ArmSummary, count: int) -> str:
    name = f"{summary.label} ({summary.kind})"
    if summary.median_s is None:
        return f"{name} no run counts"
    said = f"{name} {format_seconds(summary.median_s)} in {count} run{'' if count == 1 else 's'}"
    if summary.interval_s is not None:
        low_s, high_s = summary.interval_s
        said += f", interval {format_seconds(low_s)} to {format_seconds(high_s)}"
    if summary.verdict == NO_DIFFERENCE:
        said += ", no difference to the baseline detected"
    return said


def latencies_of(comparison: Comparison) -> dict[str, list[Latencies]]:
    """Per arm and class of operation the distributions, over all its runs that count."""
    found: dict[str, list[Latencies]] = {}
    for arm in comparison.arms:
        receipts = [each.share.get("receipt") or {} for each in comparison.of(arm) if each.share]
        for label in dict.fromkeys(label for receipt in receipts for label in receipt):
            lines = [receipt[label] for receipt in receipts if label in receipt]
            asked = _merged(lines, "asked_histogram")
            achieved = _merged(lines, "achieved_histogram")
            # The smallest value a histogram can hold is 1, and stands for 0: nothing was asked.
            wanted = asked if asked.get_max_value() > 1 else None
            found.setdefault(arm, []).append(
                Latencies(
                    label,
                    achieved.get_total_count(),
                    None if wanted is None else _curve(wanted),
                    _curve(achieved),
                )
            )
    return found


def _merged(lines: Iterable[Mapping[str, Any]], name: str) -> HdrHistogram:
    """The sum of encoded histograms (HdrHistogram's V2 format, compressed, base64)."""
    merged: HdrHistogram | None = None
    for line in lines:
        try:
            histogram = HdrHistogram.decode(line[name])
        except (KeyError, ValueError, TypeError, binascii.Error, zlib.error, struct.error) as error:
            raise ResultError(f"a receipt's {name} cannot be decoded: {error}") from error
        if merged is None:
            merged = histogram
        else:
            merged.add(histogram)
    assert merged is not None
    return merged


def _curve(histogram: HdrHistogram) -> tuple[np.ndarray, np.ndarray]:
    """Values in ns, and the shares of all answers up to each: a point per step that can be seen."""
    total = histogram.get_total_count()
    values, shares = [], []
    shown, last_ns = -1.0, 1
    for each in histogram.get_recorded_iterator():
        share = each.total_count_to_this_value / total
        value_ns = each.value_iterated_to
        if share - shown >= 1 / _CURVE_POINTS or value_ns > last_ns * _CURVE_STEP or share == 1:
            values.append(value_ns)
            shares.append(share)
            shown, last_ns = share, value_ns
    # From nothing: the first step goes up where the first answer came.
    return np.array([values[0], *values], dtype=float), np.array([0.0, *shares])


def _latencies(arms: Mapping[str, Sequence[Latencies]]) -> Plot:
    said = []
    for arm, lines in arms.items():
        parts = []
        for line in lines:
            achieved = format_duration(_median_ns(line.achieved))
            asked = "nothing" if line.asked is None else format_duration(_median_ns(line.asked))
            parts.append(f"{line.label} {asked} and {achieved} ({line.answers:,} answers)")
        said.append(f"{arm}: {', '.join(parts)}")
    return Plot(
        "latencies",
        "Latency asked for (dashed) and achieved, all runs",
        f"Medians asked for and achieved, per class of operation. {'; '.join(said)}.",
        lambda style: plots.latencies(arms, style),
    )


def _median_ns(curve: tuple[np.ndarray, np.ndarray]) -> float:
    return float(f"{plots.time_of(curve, 0.5):.4g}")


def parts_of(trace: TraceContents) -> dict[str, int]:
    """The parts of a trace's wall time in ns: they add up to it."""
    analysis = trace.analysis
    parts = {each.label: each.time_ns for each in analysis.causes if each.time_ns}
    parts[plots.NECESSARY] = analysis.necessary.time_ns
    parts[plots.REST] = analysis.rest_ns
    return parts


def _attribution(traces: Sequence[TraceContents]) -> Plot:
    bars = {trace.label: parts_of(trace) for trace in traces}
    said = []
    for label, parts in bars.items():
        total_ns = sum(parts.values()) or 1
        shares = [
            f"{part} {format_duration(three_digits(time_ns))} ({100 * time_ns / total_ns:.0f}%)"
            for part, time_ns in parts.items()
        ]
        said.append(f"{label}, {format_duration(three_digits(total_ns))}: {', '.join(shares)}")
    return Plot(
        "attribution",
        "Where the wall time went",
        f"Wall time by cause. {'. '.join(said)}.",
        lambda style: plots.attribution(bars, style),
    )


def timeline_of(trace: TraceContents) -> dict[str, Sequence[int]]:
    """Per operation the requests in each bin of time."""
    timeline = trace.analysis.timeline
    nested = timeline.get("operations", timeline)
    return {name: counts for name, counts in nested.items() if isinstance(counts, list | tuple)}


def _over_time(trace: TraceContents) -> Plot:
    counts, bin_ns = timeline_of(trace), int(trace.analysis.timeline["bin_ns"])
    shown = plots.most_frequent(counts)
    sums = np.sum(list(counts.values()), axis=0)
    busiest = int(np.argmax(sums))
    most = ", ".join(f"{name} {sum(values):,}" for name, values in shown.items())
    return Plot(
        "requests-over-time",
        f"Requests over time: {trace.label}",
        f"Requests over time of {trace.label}: {most}. The busiest moment is at "
        f"{busiest * bin_ns / 1e9:.2f} s with {sums[busiest] / (bin_ns / 1e9):,.0f} a second.",
        lambda style: plots.requests_over_time(counts, bin_ns, style),
    )
