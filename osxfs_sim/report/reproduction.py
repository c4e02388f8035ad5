"""A published table beside ours: on a terminal, in Markdown, and as a picture.

The rows are made once, so that the two kinds of tables cannot disagree.
"""

from collections.abc import Mapping

from rich.padding import Padding

from osxfs_sim.lab.reproduction import GOAL, Added, Cell, Checked, Reproduction
from osxfs_sim.lab.results import Comparison
from osxfs_sim.lab.study import Study, Topology
from osxfs_sim.lab.summary import summarize
from osxfs_sim.model.units import format_duration
from osxfs_sim.report.comparison import time_with_interval
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
    f"{100 * GOAL:.0f} % of the published ratio for a bind mount, and of native for the others."
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
    """All that is told, in the order in which it is told."""
    tables = [_ratios(study, derived), _added(derived)]
    if derived.checked:
        tables.append(_checks(derived))
    return [one for one in tables if one.rows]


def reproduction_report(
    study: Study, derived: Reproduction, comparisons: Mapping[str, Comparison], machine: str
) -> None:
    """Print all of it, with what is to be known before it is believed."""
    out = console()
    out.print(escape(study.title), style="bold")
    out.print(escape(f"published: {study.source}; {study.machine}"), style="dim")
    for one in tables_of(study, derived):
        out.print(one)
    for line in caveats(comparisons):
        out.print(Padding(f"[yellow]{escape(line)}[/yellow]", (0, 0, 0, 2)))
    out.print(Padding(escape(machine), (0, 0, 0, 2)), style="dim")


def reproduction_markdown(study: Study, derived: Reproduction) -> str:
    """The same tables, for a document."""
    return "\n\n".join(block for one in tables_of(study, derived) for block in one.markdown())


def caveats(comparisons: Mapping[str, Comparison]) -> list[str]:
    """Each warning once, with the arms that it is about, by comparison."""
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
        title=f"Ratios to native, with time dilated so that this machine ({derived.native_s:.2f} s "
        "natively) stands to its waiting as the published one to its own",
        rows=(_ratio_row(cell, dilations[cell.platform]) for cell in derived.cells),
        legend=_LEGEND,
    )


def _ratio_row(cell: Cell, dilation: float) -> tuple[str, ...]:
    ours = "" if cell.ours_s is None else _time_with_range(cell)
    ratio = "" if cell.ratio is None else _ratio_with_range(cell)
    verdict = {True: "reached", False: "missed", None: "not measured"}[cell.reached]
    is_native = cell.topology is Topology.NATIVE
    return (
        cell.platform if is_native else "",
        _NAMES[cell.topology],
        f"{dilation:g}" if cell.topology in (Topology.HYBRID, Topology.BIND) else "",
        f"{cell.published_s:.2f} s",
        ours,
        "1" if is_native else ratio,
        f"{cell.published:.2f}",
        "" if is_native or cell.error is None else percent(cell.error),
        "" if is_native else verdict,
    )


def _time_with_range(cell: Cell) -> str:
    assert cell.ours_s is not None
    assert cell.range_s is not None
    if cell.ours_s.interval is not None:
        return time_with_interval(cell.ours_s.value, cell.ours_s.interval)
    least, most = cell.range_s
    return f"{cell.ours_s.value:.1f} s [{least:.1f}..{most:.1f}]"


def _ratio_with_range(cell: Cell) -> str:
    assert cell.ratio is not None
    if cell.ratio.interval is not None:
        low, high = cell.ratio.interval
        return f"{cell.ratio.value:.2f} [{low:.2f}, {high:.2f}]"
    if cell.ratio_range is None:
        return f"{cell.ratio.value:.2f}"
    least, most = cell.ratio_range
    return f"{cell.ratio.value:.2f} [{least:.2f}..{most:.2f}]"


def percent(share: float) -> str:
    """``+14 %``; tenths below ten."""
    share = round(share, 4) + 0.0  # there is no minus zero to read
    return f"{100 * share:+.0f} %" if abs(share) >= 0.1 else f"{100 * share:+.1f} %"


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
    measured = "" if added.measured_s is None else f"{added.measured_s:.1f} s"
    if added.in_reach_at_1 is False:
        measured += " <floor"
    waiting = error = bend = ""
    if added.line is not None:
        error_s = added.line.waiting_error_s
        waiting = f"{added.line.waiting_s:.2f} s" + ("" if error_s is None else f" ± {error_s:.2f}")
        error = percent(added.line.waiting_s / added.published_s - 1)
        if len(added.line.dilations) > 2:
            bend = f"{100 * added.line.worst_share:.1f} %"
    ratio = added.ratio_of_waiting
    return (
        added.platform,
        f"{added.published_s:.2f} s",
        measured,
        waiting,
        error,
        bend,
        "" if ratio is None else f"{ratio:.2f}",
        f"{added.published_ratio:.2f}",
        "" if ratio is None else percent(ratio / added.published_ratio - 1),
        "" if added.requests is None else f"{added.requests:,}",
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
        "" if checked.error is None else percent(checked.error),
        check.source + (f"; not run: {check.not_run}" if check.not_run else ""),
    )


def _quantity(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    match unit:
        case "times":
            return f"{value:.3g} times"
        case "less":
            return f"{100 * value:.0f} % less"
    return f"{value:.3g} s"
