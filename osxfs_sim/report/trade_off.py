"""What an arm gained, and what that put at risk: the two sides of a cache.

Wall time is what the workload waited for. A share that defers changes has the rest still to do:
until they are written back, the host has less than the guest was acknowledged.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from osxfs_sim.lab.arms import NATIVE
from osxfs_sim.lab.results import Comparison, Sample
from osxfs_sim.lab.summary import representative, representatives
from osxfs_sim.model.formatting import (
    format_count,
    format_duration,
    format_fixed,
    format_seconds,
    format_size,
)
from osxfs_sim.report.tables import Table, table

BASELINE = "osxfs"
"""What gains are counted against: every question crosses, every change too."""

_NOTHING_AT_RISK = "nothing at risk: every change was on the host when it was acknowledged"
# Wall times scatter by some percent from run to run; a smaller ratio says nothing.
_SCATTER = 0.05
_AS_FAST = "as fast"


WRITE_BACK_COLUMNS = (
    *("changes", "merged", "undone", "crossed", "written", "lag", "at risk", "behind"),
)
WRITE_BACK_LEGEND = (
    "changes: what the guest made; merged: became a part of one that was waiting; undone: "
    "cancelled out before they had crossed; written: bytes written back; lag: the longest that a "
    "change was not on the host; at risk: most changes and bytes at one moment; behind: from the "
    "command's end until the host had everything."
)


def write_back_table(comparison: Comparison) -> Table:
    """The table of write-back per arm and run; without rows where no share has write-back."""
    rows = table(
        *("write-back", "run", *(f">{name}" for name in WRITE_BACK_COLUMNS)),
        legend=WRITE_BACK_LEGEND,
    )
    for arm in comparison.arms:
        for sample in representatives(comparison, arm):
            write_back = _write_back(sample)
            if write_back is not None:
                late_s = sample.drain_s
                late = "never" if late_s is None else format_seconds(late_s, 2)
                rows.add_row(arm, sample.kind, *write_back_cells(write_back), late)
    return rows


def write_back_cells(write_back: Mapping[str, Any]) -> Iterator[str]:
    """The cells below WRITE_BACK_COLUMNS but the last. Raises KeyError where a count is missing."""
    yield from (
        format_count(write_back[name]) for name in ("made", "merged", "cancelled", "crossed")
    )
    yield format_size(write_back["bytes_written_back"])
    yield format_duration(write_back["longest_lag_ns"])
    changes, size = write_back["most_changes_at_risk"], write_back["most_bytes_at_risk"]
    yield f"{format_count(changes)}, {format_size(size)}"


def trade_offs(comparison: Comparison) -> list[str]:
    """A line per arm: how much faster than osxfs it is, and what it puts at risk."""
    return [_trade_off(comparison, arm) for arm in comparison.arms if comparison.all_of(arm)]


def _trade_off(comparison: Comparison, arm: str) -> str:
    samples = comparison.all_of(arm)
    parts = (_gain(comparison, arm), _risk(comparison, arm, samples), _staleness(samples))
    return f"{arm}: {'; '.join(filter(None, parts))}"


def _gain(comparison: Comparison, arm: str) -> str:
    if not comparison.of(arm):
        return "no run counts"
    if arm == BASELINE:
        return "the baseline"
    gains = {}
    for sample in representatives(comparison, arm):
        base = None if sample.failure else representative(comparison, BASELINE, sample.kind)
        if base is not None:
            gains[sample.kind] = _compared(sample.wall_s, base.wall_s)
    if not gains:
        return ""
    first, *others = gains.items()
    again = f" ({others[0][0]}: {others[0][1]})" if others else ""
    return f"{first[1]} {'as' if first[1] == _AS_FAST else 'than'} {BASELINE}{again}"


def _compared(wall_s: float, base_s: float) -> str:
    ratio = base_s / wall_s
    if abs(ratio - 1) < _SCATTER:
        return _AS_FAST
    if ratio > 1:
        return f"{format_fixed(ratio, 1)} times faster"
    return f"{format_fixed(1 / ratio, 1)} times slower"


def _risk(comparison: Comparison, arm: str, samples: list[Sample]) -> str:
    """How far the host was behind in the worst of all runs, failed ones too."""
    if arm == NATIVE:
        return "no share: guest and host are one, and nothing is at risk"
    statuses = [found for sample in samples if (found := _write_back(sample)) is not None]
    if not statuses:
        return _NOTHING_AT_RISK if any(sample.share for sample in samples) else ""
    changes = max(each["most_changes_at_risk"] for each in statuses)
    size = max(each["most_bytes_at_risk"] for each in statuses)
    lag_ns = max(each["longest_lag_ns"] for each in statuses)
    lost = sum(each["lost_host_changes"] for each in statuses)
    late_s = max(sample.drain_s or 0.0 for sample in samples)
    if not changes:
        return "nothing was held back"
    said = [
        f"the host lagged up to {format_duration(lag_ns)} behind, and at the worst moment "
        f"{format_count(changes)} changes ({format_size(size)}) were only in the guest"
    ]
    if any(each["kernel"] for each in statuses):
        said.append("what its kernel held besides is not counted")
    if lost:
        said.append(f"{format_count(lost)} changes that the host made meanwhile are lost")
    is_cut_short = arm in comparison.mounted and samples[-1].drain_s is None
    said.append(
        "the host did not get everything"
        if is_cut_short
        else f"the host had everything {format_duration(round(late_s * 1e9))} after the end"
    )
    return "; ".join(said)


def _staleness(samples: list[Sample]) -> str:
    share = next((sample.share for sample in samples if sample.share is not None), None)
    if share is None or share["policy"].startswith("consistent"):
        return ""
    if share["events"] is None:
        return (
            "answers could be stale until their cache timeout: no event of the host's invalidates "
            "them"
        )
    window = format_duration(share["events"]["latency_ns"])
    return f"answers could be stale until the host's event arrived (window {window})"


def _write_back(sample: Sample) -> dict[str, Any] | None:
    """The status of the share's write-back over the run; None where it has none."""
    write_back: dict[str, Any] | None = (sample.share or {}).get("write_back")
    return write_back
