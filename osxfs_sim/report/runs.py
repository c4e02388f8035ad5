"""A case study's arms, on a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape

from osxfs_sim.lab.runs import NATIVE, ArmResult, Plan, Run
from osxfs_sim.model.units import format_duration
from osxfs_sim.report.console import console, table

# Shown by name; the rest of the requests are summed up.
_SHOWN_REQUESTS = ("LOOKUP", "GETATTR", "OPEN", "READ", "READLINK")
_BASELINES = (NATIVE, "osxfs")
_WORTH_A_LINE = 0.01


def runs_report(plan: Plan, results: Sequence[ArmResult], machine: str) -> None:
    """Print a line per arm and kind of run, and what to know before believing it."""
    out = console()
    what = "quick: a shortened command" if plan.quick else "the whole command"
    options = "".join(f", with {name}" for name in plan.toggles)
    dilated = f", time dilated {plan.dilate:g} times" if plan.dilate != 1 else ""
    title = f"{plan.case.title} ({plan.variant}{options}; {what}{dilated})"
    times = table(
        "arm",
        "run",
        ">wall",
        *(f">/ {name}" for name in _BASELINES),
        ">server",
        ">requests",
        ">missing",
        ">each",
        ">asked",
        ">achieved",
        ">late",
        title=escape(title),
    )
    counts = table("requests", "run", *(f">{name}" for name in _SHOWN_REQUESTS), ">others")
    for result in results:
        for run in _representative(result.runs):
            times.add_row(*_times_row(result, run, results))
            if run.share is not None:
                counts.add_row(*_counts_row(result, run))
    out.print(times)
    if counts.row_count:
        out.print(counts)
    for line in _caveats(results):
        out.print(line)
    out.print(f"  {escape(machine)}", style="dim")


def _representative(runs: Sequence[Run]) -> list[Run]:
    """The fresh run, and of the others the median one by wall time; failed runs all."""
    chosen = [run for run in runs if run.kind == "fresh" or run.failure]
    others = sorted((run for run in runs if run not in chosen), key=lambda run: run.wall_s)
    if others:
        chosen.append(others[len(others) // 2])
    return chosen


def _times_row(result: ArmResult, run: Run, results: Sequence[ArmResult]) -> list[str]:
    row = [f"[bold]{escape(result.arm)}[/bold]", run.kind]
    row.append("[red]failed[/red]" if run.failure else f"{run.wall_s:.2f} s")
    for baseline in _BASELINES:
        base = next((other for other in results if other.arm == baseline), None)
        same = (
            [other for other in _representative(base.runs) if other.kind == run.kind]
            if base
            else []
        )
        if run.failure or not same or same[0].failure:
            row.append("")
        else:
            row.append(f"{run.wall_s / same[0].wall_s:.2f}")
    if run.share is None:
        return [*row, "", "", "", "", "", ""]
    requests = sum(run.share["requests"].values())
    missing = run.share["missing_lookups"]
    receipt = run.share["receipt"]
    late = sum(line["late"] for line in receipt.values())
    answers = sum(line["count"] for line in receipt.values())
    row += [
        f"{run.share['server_processor_s']:.2f} s",
        f"{requests}",
        f"{missing}",
        f"{requests / missing:.1f}" if missing else "",
    ]
    if "metadata" not in receipt:
        return [*row, "", "", ""]
    metadata = receipt["metadata"]
    mark = "!" if metadata["within_tolerance"] is False else ""
    return [
        *row,
        format_duration(metadata["asked_p50_ns"]),
        format_duration(metadata["achieved_p50_ns"]) + mark,
        f"{100 * late / answers:.1f}%",
    ]


def _counts_row(result: ArmResult, run: Run) -> list[str]:
    assert run.share is not None
    requests = run.share["requests"]
    shown = [requests.get(name, 0) for name in _SHOWN_REQUESTS]
    others = sum(requests.values()) - sum(shown)
    return [escape(result.arm), run.kind, *(f"{count}" for count in shown), f"{others}"]


def _caveats(results: Sequence[ArmResult]) -> list[str]:
    """What a reader must know: failures, the shares' warnings, receipts out of tolerance."""
    lines = []
    for result in results:
        name = escape(result.arm)
        for warning in result.mounted["warnings"] if result.mounted else ():
            lines.append(f"[yellow]{name}: {escape(warning)}[/yellow]")
        for run in result.runs:
            if run.failure:
                lines.append(f"[red]{name}, {run.kind}: {escape(run.failure)}[/red]")
            if run.share is not None:
                lines += _out_of_tolerance(f"{name}, {run.kind}", run.share["receipt"])
    lines.append(
        "  server: the emulator's own processor time, taken from the same cores. missing: lookups "
        "of names that do not exist; each: requests per missing name. asked, achieved: median of "
        "metadata requests. Times scatter by some percent on a shared machine; counts repeat."
    )
    return lines


def _out_of_tolerance(name: str, receipt: Mapping[str, Any]) -> list[str]:
    answers = sum(line["count"] for line in receipt.values())
    return [
        f"[red]{name}: {label}: asked for {format_duration(line['asked_p50_ns'])}, achieved "
        f"{format_duration(line['achieved_p50_ns'])} (median), {line['late']} of "
        f"{line['count']} late: out of tolerance[/red]"
        for label, line in receipt.items()
        # Classes that hardly occur cannot have moved the result; the saved run has them all.
        if line["within_tolerance"] is False and line["count"] >= _WORTH_A_LINE * answers
    ]
