"""Which plots a comparison has, and each one's finding in words and numbers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from osxfs_sim.lab.results import Comparison
from osxfs_sim.lab.summary import NO_DIFFERENCE, ArmSummary
from osxfs_sim.model.formatting import (
    format_count,
    format_duration,
    format_percent,
    format_seconds,
    format_wall_time,
    rounded,
    three_digits,
)
from osxfs_sim.report import plots
from osxfs_sim.report.contents import Contents, TraceContents
from osxfs_sim.report.latencies import Latencies, time_of
from osxfs_sim.report.plots import Style, WallTimes


@dataclass(frozen=True, slots=True)
class Plot:
    """One figure, drawn when it is asked for."""

    name: str
    """Of its file, without the ending."""
    title: str
    """The heading above it."""
    alt: str
    """What a reader would find in it, in sentences."""
    draw: Callable[[Style], Figure]
    """Draws the figure in a style."""


def plots_of(contents: Contents) -> list[Plot]:
    """The plots of a comparison: wall times, and latencies where there are any; no traces."""
    comparison, summaries = contents.comparison, contents.summaries
    made = [_wall_times(comparison, summaries)]
    if contents.latencies:
        made.append(_latencies(contents.latencies))
    return made


def plots_of_traces(traces: Sequence[TraceContents]) -> list[Plot]:
    """Plots of where the time of *traces* went, and of each one's requests; [] without traces."""
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
    said = f"{name} {format_wall_time(summary.median_s)} in {count} run{'' if count == 1 else 's'}"
    if summary.interval_s is not None:
        low_s, high_s = summary.interval_s
        said += f", interval {format_wall_time(low_s)} to {format_wall_time(high_s)}"
    if summary.verdict == NO_DIFFERENCE:
        said += ", no difference to the baseline detected"
    return said


def _latencies(arms: Mapping[str, Sequence[Latencies]]) -> Plot:
    said = []
    for arm, lines in arms.items():
        parts = []
        for line in lines:
            observed = format_duration(_median_ns(line.observed))
            target = "nothing" if line.target is None else format_duration(_median_ns(line.target))
            parts.append(
                f"{line.label} {target} and {observed} ({format_count(line.answers)} answers)"
            )
        said.append(f"{arm}: {', '.join(parts)}")
    return Plot(
        "latencies",
        "Target latency (dashed) and observed latency, all runs",
        f"Medians of target and observed latency, per class of operation. {'; '.join(said)}.",
        lambda style: plots.latencies(arms, style),
    )


def _median_ns(curve: tuple[np.ndarray, np.ndarray]) -> float:
    return rounded(time_of(curve, 0.5), 4)


def partition_by_object(trace: TraceContents) -> dict[str, int]:
    """The ns of a trace's wall time by cause, necessary requests and rest; they add up to it."""
    analysis = trace.analysis
    parts = {each.label: each.time_ns for each in analysis.causes if each.time_ns}
    parts[plots.NECESSARY] = analysis.necessary.time_ns
    parts[plots.REST] = analysis.rest_ns
    return parts


def _attribution(traces: Sequence[TraceContents]) -> Plot:
    bars = {trace.label: partition_by_object(trace) for trace in traces}
    said = []
    for label, parts in bars.items():
        total_ns = sum(parts.values()) or 1
        shares = [
            f"{part} {format_duration(three_digits(time_ns))} "
            f"({format_percent(time_ns, 0, of=total_ns)})"
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
    """By operation how many of a trace's requests came in each bin of time; may be empty."""
    timeline = trace.analysis.timeline
    nested = timeline.get("operations", timeline)
    return {name: counts for name, counts in nested.items() if isinstance(counts, list | tuple)}


def _over_time(trace: TraceContents) -> Plot:
    counts, bin_ns = timeline_of(trace), int(trace.analysis.timeline["bin_ns"])
    shown = plots.most_frequent(counts)
    sums = np.sum(list(counts.values()), axis=0)
    busiest = int(np.argmax(sums))
    most = ", ".join(f"{name} {format_count(sum(values))}" for name, values in shown.items())
    return Plot(
        "requests-over-time",
        f"Requests over time: {trace.label}",
        f"Requests over time of {trace.label}: {most}. The busiest moment is at "
        f"{format_seconds(busiest * bin_ns / 1e9, 2)} with "
        f"{format_count(sums[busiest] / (bin_ns / 1e9))} a second.",
        lambda style: plots.requests_over_time(counts, bin_ns, style),
    )
