"""A share at this moment, on a terminal: what ``top`` shows of each interval."""

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from osxfs_sim.model.formatting import (
    format_duration,
    format_frequency,
    format_percent,
    format_size,
)
from osxfs_sim.report.console import escape, escape_all
from osxfs_sim.report.tables import Table, table

_MOST_OPERATIONS = 12


def live_counters_view(counters: Mapping[str, Any], mountpoint: str) -> RenderableType:
    """What ``top`` shows of one interval: rates, who answered, latency, pending changes."""
    as_given = counters
    mountpoint, counters = escape(mountpoint), escape_all(counters)
    interval_s = counters["interval_s"]
    requests = counters["requests"]
    total = sum(requests.values())
    lines = [
        f"[bold]{mountpoint}[/bold]  {counters['profile']} of {counters['source']}",
        f"requests  {format_frequency(total, interval_s)}; {counters['in_flight']} on their way; "
        f"missing names {format_frequency(counters['missing_lookups'], interval_s)}",
        f"answered  {_answered(counters['answered_by'])}",
        f"latency   {_latency(counters)}",
        f"known     {counters['inodes']} inodes, "
        f"{counters['open_handles']} open files and directories",
    ]
    write_back = counters["write_back"]
    if write_back is not None:
        lines.append(
            f"pending   {write_back['pending_changes']} changes "
            f"({format_size(write_back['pending_bytes'])}), "
            f"the oldest for {format_duration(write_back['oldest_ns'])}"
        )
    views: list[RenderableType] = [Text.from_markup("\n".join(lines))]
    views += [each for each in _busiest(as_given) if each.row_count]
    return Group(*views)


def _busiest(counters: Mapping[str, Any]) -> tuple[Table, Table]:
    """The operations that came most often, and the directories that they were about."""
    requests, interval_s = counters["requests"], counters["interval_s"]
    total = sum(requests.values())
    operations = table("operation", ">per second", ">share")
    for name, count in sorted(requests.items(), key=lambda each: -each[1])[:_MOST_OPERATIONS]:
        operations.add_row(name, *_of_all(count, total, interval_s))
    directories = table("directory", ">per second", ">share")
    for path, count in counters["directories"]:
        # Of something that the kernel has forgotten, or that has no name any more.
        shown = path if path is not None else "(unknown)"
        directories.add_row(shown, *_of_all(count, total, interval_s))
    return operations, directories


def _of_all(count: int, total: int, interval_s: float) -> tuple[str, str]:
    """So many a second, and which share that is of all *total*."""
    return format_frequency(count, interval_s), format_percent(count, 0, of=total)


def _answered(answered_by: Mapping[str, int]) -> str:
    waited_for = {name: count for name, count in answered_by.items() if name != "guest"}
    total = sum(waited_for.values())
    if not total:
        return "nothing was asked"
    return ", ".join(
        f"{format_percent(count, 1, of=total)} {_SAID[name]}"
        for name, count in waited_for.items()
        if count
    )


_SAID = {
    "host": "by the host, a crossing each",
    "names": "by a complete directory, without a crossing",
    "held": "by write-back, without a crossing",
}


def _latency(counters: Mapping[str, Any]) -> str:
    if counters["observed_p50_ns"] is None:
        return "nothing crossed"
    return (
        f"target {format_duration(counters['target_p50_ns'])}, "
        f"observed {format_duration(counters['observed_p50_ns'])} in the median, "
        f"{format_duration(counters['observed_p99_ns'])} at p99"
    )
