"""A published table beside ours: on a terminal, in Markdown, and as a picture.

The rows are made once, so that the two kinds of tables cannot disagree.
"""

from collections.abc import Mapping

from rich.padding import Padding

from osxfs_sim.lab.reproduction import GOAL, Added, Checked, Reproduction, TopologyCell
from osxfs_sim.lab.results import Comparison
from osxfs_sim.lab.study import Study, Topology
from osxfs_sim.lab.summary import summarize
from osxfs_sim.model.formatting import (
    format_count,
    format_duration,
    format_extremes,
    format_fixed,
    format_interval,
    format_plain,
    format_seconds,
    format_signed_percent,
    format_significant,
    format_time_with_interval,
)
from osxfs_sim.report.console import console, escape
from osxfs_sim.report.tables import Table, table

_NAMES = {
    Topology.NATIVE: "native",
    Topology.NO_VOLUMES: "no volumes",
    Topology.HYBRID: "bind mount + volume",
    Topology.BIND: "bind mount",
}
_LEGEND = (
    "Ratios are of medians, to native; in brackets a 95% bootstrap interval, or with "
    "too few runs for one the least and the most of all rounds, as least..most. The goal is "
    f"{format_fixed(100 * GOAL, 0)} % of the published ratio for a bind mount, and of native for "
    "the others."
)
_LEGEND_ADDED = (
    "measured: what a bind mount takes more than no volumes, undilated; it holds what the emulator "
    "itself takes from the workload's processors, and where the latency is below this machine's "
    "floor (<floor) it is an upper bound. waiting: the slope of the line wall time = a + K x "
    "waiting through all dilations in reach, with its 95 % error: what the system itself adds. "
    "bend: the largest distance of a mean from that line. / native: bind mount over native if the "
    "emulator cost nothing, from waiting. fitted: the latency that makes waiting the published "
    "seconds."
)


def tables_of(study: Study, derived: Reproduction) -> list[Table]:
    """The tables of ratios, of what bind mounts add, and of checks, but for those without rows."""
    tables = [_ratios(study, derived), _added(derived)]
    if derived.checked:
        tables.append(_checks(derived))
    return [one for one in tables if one.rows]


def reproduction_report(
    study: Study, derived: Reproduction, comparisons: Mapping[str, Comparison], machine: str
) -> None:
    """Print a study's tables of published and our results, warnings, and the machine."""
    out = console()
    out.print(escape(study.title), style="bold")
    out.print(escape(f"published: {study.source}; {study.machine}"), style="dim")
    for one in tables_of(study, derived):
        out.print(one)
    for line in caveats(comparisons):
        out.print(Padding(f"[yellow]{escape(line)}[/yellow]", (0, 0, 0, 2)))
    out.print(Padding(escape(machine), (0, 0, 0, 2)), style="dim")


def reproduction_markdown(study: Study, derived: Reproduction) -> str:
    """The study's tables of published and our results as a Markdown document."""
    return "\n\n".join(block for one in tables_of(study, derived) for block in one.markdown())


def caveats(comparisons: Mapping[str, Comparison]) -> list[str]:
    """Each warning once per comparison, with its name and arms, but for what the legend says."""
    lines: dict[tuple[str, str], list[str]] = {}
    for name, comparison in comparisons.items():
        for summary in summarize(comparison, resamples=1):
            for warning in summary.warnings:
                if "takes 5" in warning or "too few runs" in warning:
                    continue  # the legend says it once
                arms = lines.setdefault((name, warning), [])
                if summary.label not in arms:
                    arms.append(summary.label)
    return [f"{name}: {', '.join(arms)}: {warning}" for (name, warning), arms in lines.items()]


def _ratios(study: Study, derived: Reproduction) -> Table:
    dilations = {one.name: derived.dilations[one.profile] for one in study.platforms}
    return table(
        *("platform", "topology", ">K", ">published", ">ours", ">/ native", ">publ.", ">error", ""),
        title="Ratios to native, with time dilated so that this machine "
        f"({format_seconds(derived.native_s, 2)} natively) stands to its waiting as the "
        "published one to its own",
        rows=(_ratio_row(cell, dilations[cell.platform]) for cell in derived.cells),
        legend=_LEGEND,
    )


def _ratio_row(cell: TopologyCell, dilation: float) -> tuple[str, ...]:
    ours = "" if cell.ours_s is None else _time_with_range(cell)
    ratio = "" if cell.ratio is None else _ratio_with_range(cell)
    verdict = {True: "reached", False: "missed", None: "not measured"}[cell.reached]
    is_native = cell.topology is Topology.NATIVE
    return (
        cell.platform if is_native else "",
        _NAMES[cell.topology],
        format_plain(dilation) if cell.topology in (Topology.HYBRID, Topology.BIND) else "",
        format_seconds(cell.published_s, 2),
        ours,
        "1" if is_native else ratio,
        format_fixed(cell.published, 2),
        "" if is_native or cell.error is None else format_signed_percent(cell.error),
        "" if is_native else verdict,
    )


def _time_with_range(cell: TopologyCell) -> str:
    assert cell.ours_s is not None
    assert cell.range_s is not None
    if cell.ours_s.interval is not None:
        return format_time_with_interval(cell.ours_s.value, cell.ours_s.interval)
    least, most = cell.range_s
    return f"{format_seconds(cell.ours_s.value, 1)} {format_extremes(least, most, 1)}"


def _ratio_with_range(cell: TopologyCell) -> str:
    assert cell.ratio is not None
    if cell.ratio.interval is not None:
        low, high = cell.ratio.interval
        return format_interval(cell.ratio.value, low, high, 2)
    if cell.ratio_range is None:
        return format_fixed(cell.ratio.value, 2)
    least, most = cell.ratio_range
    return f"{format_fixed(cell.ratio.value, 2)} {format_extremes(least, most, 2)}"


def _added(derived: Reproduction) -> Table:
    return table(
        *(
            *("platform", ">published", ">measured", ">waiting", ">error", ">bend"),
            *(">/ native", ">publ.", ">error", ">requests", ">latency", ">fitted"),
        ),
        title="Seconds added by a bind mount at K = 1, and the fit",
        rows=(_added_row(one) for one in derived.added),
        legend=_LEGEND_ADDED,
    )


def _added_row(added: Added) -> tuple[str, ...]:
    measured = "" if added.measured_s is None else format_seconds(added.measured_s, 1)
    if added.in_reach_at_1 is False:
        measured += " <floor"
    waiting = error = bend = ""
    if added.line is not None:
        error_s = added.line.waiting_error_s
        waiting = format_seconds(added.line.waiting_s, 2) + (
            "" if error_s is None else f" ± {format_fixed(error_s, 2)}"
        )
        error = format_signed_percent(added.line.waiting_s / added.published_s - 1)
        if len(added.line.dilations) > 2:
            bend = f"{format_fixed(100 * added.line.worst_share, 1)} %"
    ratio = added.ratio_of_waiting
    return (
        added.platform,
        format_seconds(added.published_s, 2),
        measured,
        waiting,
        error,
        bend,
        "" if ratio is None else format_fixed(ratio, 2),
        format_fixed(added.published_ratio, 2),
        "" if ratio is None else format_signed_percent(ratio / added.published_ratio - 1),
        "" if added.requests is None else format_count(added.requests),
        "" if added.latency_ns is None else format_duration(added.latency_ns),
        "" if added.fitted_ns is None else format_duration(added.fitted_ns),
    )


def _checks(derived: Reproduction) -> Table:
    return table(
        *("what", ">published", ">ours", ">error", "source"),
        title="Published results that nothing was fitted to (K = 1, but for ratios of the table)",
        rows=(_check_row(one) for one in derived.checked),
    )


def _check_row(checked: Checked) -> tuple[str, ...]:
    check = checked.check
    ours = _quantity(checked.ours, check.unit)
    return (
        check.text,
        _quantity(check.published, check.unit),
        ours or ("not run" if check.not_run else "not measured"),
        "" if checked.error is None else format_signed_percent(checked.error),
        check.source + (f"; not run: {check.not_run}" if check.not_run else ""),
    )


def _quantity(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    match unit:
        case "times":
            return f"{format_significant(value, 3)} times"
        case "less":
            return f"{format_fixed(100 * value, 0)} % less"
    return f"{format_significant(value, 3)} s"
