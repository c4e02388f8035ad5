"""Where the time of a trace went, on a terminal."""

from collections.abc import Sequence

from rich.padding import Padding

from osxfs_sim.model.formatting import format_count, format_duration, format_percent
from osxfs_sim.report.console import console, escape
from osxfs_sim.report.tables import table
from osxfs_sim.trace.analysis import Analysis, Part

_SHOWN_DEPTHS = 8
_BAR = 24
_SHOWN_BINS = 14


def analysis_report(analysis: Analysis, top: int = 10) -> None:
    """Print where a trace's wall time went; of directories and programs the *top* longest."""
    out = console()
    out.print(f"[bold]{escape(analysis.title)}[/bold]", soft_wrap=True)
    out.print(
        f"  wall {format_duration(analysis.wall_ns)} = waiting for the share "
        f"{_of(analysis.waiting_ns, analysis)} + the rest {_of(analysis.rest_ns, analysis)}: the "
        "guest computed, or was served by its own caches"
    )
    for warning in analysis.warnings:
        out.print(f"  [yellow]{escape(warning)}[/yellow]", soft_wrap=True)
    _causes(analysis)
    for title, parts in (
        ("operation", analysis.operations),
        ("directory", _first(analysis.directories, top)),
        ("directory and all below", analysis.subtrees[:top]),
        ("program", _first(analysis.programs, top)),
        ("answered by", analysis.answered_by),
    ):
        _parts(title, parts, analysis)
    if analysis.operations:
        out.print(
            "  time: of the wall time, in which an instant with several requests on their way is\n"
            "  divided among them; each: that, per request, so it is less than the latency where\n"
            "  requests overlap (which the lines below have)\n"
        )
    _concurrency(analysis)
    _latencies(analysis)
    for line in (*_reuse(analysis), *_bursts(analysis)):
        out.print(Padding(line, (0, 0, 0, 2)))


def _of(time_ns: int, analysis: Analysis) -> str:
    return f"{format_duration(time_ns)} ({_percent(time_ns, analysis.wall_ns)})"


def _percent(part: int, whole: int) -> str:
    return format_percent(part, 1, of=whole) if whole else "0%"


def _first(parts: Sequence[Part], top: int) -> list[Part]:
    """The *top* longest, and all others in one line."""
    kept, others = list(parts[:top]), parts[top:]
    if others:
        requests = sum(part.requests for part in others)
        time_ns = sum(part.time_ns for part in others)
        kept.append(Part("others", requests, time_ns, sum(part.target_ns for part in others)))
    return kept


def _causes(analysis: Analysis) -> None:
    if not analysis.requests:
        return
    out = console()
    rows = table("cause", "remedy", ">requests", ">time", ">of wall", ">then")
    for cause in analysis.causes:
        rows.add_row(
            cause.label,
            cause.remedy,
            format_count(cause.requests),
            format_duration(cause.time_ns),
            _percent(cause.time_ns, analysis.wall_ns),
            format_duration(cause.followed_ns),
        )
    necessary = analysis.necessary
    rows.add_row(
        "necessary",
        "",
        format_count(necessary.requests),
        format_duration(necessary.time_ns),
        _percent(necessary.time_ns, analysis.wall_ns),
        format_duration(necessary.followed_ns),
    )
    out.print(rows)
    out.print(
        "  then: of the rest, what followed them until the next request: the guest was woken, and "
        "computed\n"
    )
    for sentence in (*analysis.summary, *(cause.sentence for cause in analysis.causes)):
        out.print(Padding(escape(sentence), (0, 0, 0, 2)))
    out.print()


def _parts(title: str, parts: Sequence[Part], analysis: Analysis) -> None:
    if not parts:
        return
    rows = table(title, ">requests", ">time", ">of wall", ">each")
    for part in parts:
        rows.add_row(
            part.label,
            format_count(part.requests),
            format_duration(part.time_ns),
            _percent(part.time_ns, analysis.wall_ns),
            format_duration(part.time_ns / part.requests) if part.requests else "",
        )
    console().print(rows)


def _concurrency(analysis: Analysis) -> None:
    """The time per number of requests on their way; the many in one line."""
    rows = table("requests at once", ">time", ">of wall")
    depths = analysis.concurrency
    for depth, time_ns in enumerate(depths[:_SHOWN_DEPTHS]):
        rows.add_row(f"{depth}", format_duration(time_ns), _percent(time_ns, analysis.wall_ns))
    more_ns = sum(depths[_SHOWN_DEPTHS:])
    if more_ns:
        label = f"{_SHOWN_DEPTHS} to {len(depths) - 1}"
        rows.add_row(label, format_duration(more_ns), _percent(more_ns, analysis.wall_ns))
    console().print(rows)


def _latencies(analysis: Analysis) -> None:
    """Per class of operation, target against observed latency."""
    for kind, latency in analysis.latency.items():
        target_p50_ns = latency["target_p50_ns"]
        rows = table(kind, ">target", "", ">observed", " ")
        edges, target, took = latency["edges_ns"], latency["target"], latency["observed"]
        for low, high, of_target, of_took in _merged(edges, target, took):
            label = f"{format_duration(low)} to {format_duration(high)}"
            rows.add_row(
                label,
                format_count(of_target),
                _bar(of_target, sum(target)),
                format_count(of_took),
                _bar(of_took, sum(took)),
            )
        medians = f"observed {format_duration(latency['observed_p50_ns'])}"
        if target_p50_ns is not None:
            medians = f"target {format_duration(target_p50_ns)}, {medians}"
        console().print(rows)
        console().print(f"  {kind}, medians: {medians}")


def _bar(count: int, whole: int) -> str:
    return "#" * -(-_BAR * count // whole) if whole else ""


def _merged(
    edges: Sequence[int], target: Sequence[int], took: Sequence[int]
) -> list[tuple[int, int, int, int]]:
    """At most so many bins as a terminal shows, neighbours put together; without empty ends."""
    used = [number for number in range(len(took)) if target[number] or took[number]]
    if not used:
        return []
    first, last = used[0], used[-1] + 1
    step = -(-(last - first) // _SHOWN_BINS)
    return [
        (
            edges[at],
            edges[min(at + step, last)],
            sum(target[at : min(at + step, last)]),
            sum(took[at : min(at + step, last)]),
        )
        for at in range(first, last, step)
    ]


def _reuse(analysis: Analysis) -> list[str]:
    said = [
        f"{kind} {format_count(counts['before'])} of {format_count(counts['requests'])}"
        for kind, counts in analysis.reuse.items()
        if counts["requests"]
    ]
    return [f"asked again, unchanged: {', '.join(said)}"] if said else []


def _bursts(analysis: Analysis) -> list[str]:
    bursts = analysis.bursts
    if "gap_p50_ns" not in bursts:
        return []
    gaps = ", ".join(format_duration(bursts[f"gap_p{percent}_ns"]) for percent in (50, 90, 99))
    return [
        f"between requests (50, 90, 99%): {gaps}; {format_count(bursts['runs'])} bursts without a "
        f"gap of 1ms, of {format_count(bursts['run_p50'])} requests (median), the longest of "
        f"{format_count(bursts['run_max'])}"
    ]
