"""A share at this moment, on a terminal: what ``top`` shows of each interval."""

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from osxfs_sim.model.units import format_duration, format_size
from osxfs_sim.report.console import escape, escape_all, table

_MOST_OPERATIONS = 12


def live_counters_view(counters: Mapping[str, Any], mountpoint: str) -> RenderableType:
    """One interval: rates per operation, who answered, latency, what is held, where."""
    mountpoint, counters = escape(mountpoint), escape_all(counters)
    interval_s = counters["interval_s"]
    requests = counters["requests"]
    total = sum(requests.values())
    lines = [
        f"[bold]{mountpoint}[/bold]  {counters['profile']} of {counters['source']}",
        f"requests  {rate(total, interval_s)}; {counters['in_flight']} on their way; "
        f"missing names {rate(counters['missing_lookups'], interval_s)}",
        f"answered  {_answered(counters['answered_by'])}",
        f"latency   {_latency(counters)}",
        f"known     {counters['inodes']} inodes, "
        f"{counters['open_handles']} open files and directories",
    ]
    held = counters["write_back"]
    if held is not None:
        lines.append(
            f"held      {held['pending_changes']} changes ({format_size(held['pending_bytes'])}), "
            f"the oldest for {format_duration(held['oldest_ns'])}"
        )
    operations = table("operation", ">per second", ">share")
    for name, count in sorted(requests.items(), key=lambda each: -each[1])[:_MOST_OPERATIONS]:
        operations.add_row(name, rate(count, interval_s), f"{100 * count / total:.0f}%")
    directories = table("directory", ">per second", ">share")
    for path, count in counters["directories"]:
        # Of something that the kernel has forgotten, or that has no name any more.
        shown = path if path is not None else "(unknown)"
        directories.add_row(shown, rate(count, interval_s), f"{100 * count / total:.0f}%")
    views: list[RenderableType] = [Text.from_markup("\n".join(lines))]
    views += [each for each in (operations, directories) if each.row_count]
    return Group(*views)


def rate(count: int, interval_s: float) -> str:
    """Per second, with three digits."""
    if not count or interval_s <= 0:
        return "0/s"
    per_second = count / interval_s
    return f"{per_second:,.0f}/s" if per_second >= 100 else f"{per_second:.3g}/s"


def _answered(answered_by: Mapping[str, int]) -> str:
    waited_for = {name: count for name, count in answered_by.items() if name != "guest"}
    total = sum(waited_for.values())
    if not total:
        return "nothing was asked"
    return ", ".join(
        f"{100 * count / total:.1f}% {_SAID[name]}" for name, count in waited_for.items() if count
    )


_SAID = {
    "host": "by the host, a crossing each",
    "names": "by a set of names, without a crossing",
    "held": "by write-back, without a crossing",
}


def _latency(counters: Mapping[str, Any]) -> str:
    if counters["observed_p50_ns"] is None:
        return "nothing crossed"
    return (
        f"asked {format_duration(counters['target_p50_ns'])}, "
        f"achieved {format_duration(counters['observed_p50_ns'])} in the median, "
        f"{format_duration(counters['observed_p99_ns'])} at p99"
    )
